//! What was measured, in the order in which it was.

use std::fmt;

/// Names and values. A name ends in its unit; a ratio has none.
#[derive(Default)]
pub(crate) struct Figures {
    sections: Vec<Section>,
}

struct Section {
    title: String,
    figures: Vec<(&'static str, f64)>,
}

impl Figures {
    /// Begins a section of the table, and says so to whoever waits for it.
    pub(crate) fn section(&mut self, title: impl Into<String>) {
        let title = title.into();
        eprintln!("{title}");
        self.sections.push(Section {
            title,
            figures: Vec::new(),
        });
    }

    /// Adds a figure to the section that was begun last.
    pub(crate) fn add(&mut self, name: &'static str, value: f64) {
        match self.sections.last_mut() {
            Some(section) => section.figures.push((name, value)),
            None => unreachable!("a section is begun first"),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.sections
            .iter()
            .flat_map(|section| &section.figures)
            .copied()
    }

    /// The figure of this name, which was added.
    pub(crate) fn get(&self, name: &str) -> f64 {
        let found = self.iter().find(|(known, _)| *known == name);
        found.map_or(f64::NAN, |(_, value)| value)
    }

    /// One object of one line.
    pub(crate) fn json(&self) -> String {
        let fields: Vec<_> = self
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value:.3}"))
            .collect();
        format!("{{{}}}", fields.join(","))
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Section { title, figures } in &self.sections {
            writeln!(f, "\n{title}")?;
            let mut figures = figures.iter().peekable();
            while let Some((name, value)) = figures.next() {
                write!(f, "    {name:<32} {value:>12.2}")?;
                // Beside the figure of the naive pipeline, where that comes next.
                let of_naive = name.replace("_ns", "_naive_ns");
                match figures.next_if(|(next, _)| *next == of_naive) {
                    Some((_, naive)) => writeln!(f, "   naive {naive:>9.2}")?,
                    None => writeln!(f)?,
                }
            }
        }
        Ok(())
    }
}
