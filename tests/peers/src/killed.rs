//! A child process that does not outlive its owner.

use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

/// A child that is killed when this is dropped.
pub struct Killed(Child);

impl Killed {
    /// Starts it.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let child = command.spawn().map(Self);
        child.map_err(|why| format!("{}: {why}", command.get_program().display()))
    }

    /// The id of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or("no process id")?;
        kill_process(pid, signal).map_err(|why| format!("{signal:?}: {why}"))
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.0.try_wait().map_err(|why| why.to_string())
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.kill();
    }
}
