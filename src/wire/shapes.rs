//! ClientHellos that are like one that came before.
//!
//! The clients of a gateway are mostly of few kinds, and two ClientHellos of one kind differ in
//! nothing but what is opaque to whoever reads them: random bytes, public keys, tickets and binders.
//! So where all else is the same, byte by byte, everything lies where it lay then.

use super::client_hello::ClientHello;
use super::layout::Layout;
use super::malformed::Malformed;

/// Bytes that are compared together.
const BLOCK: usize = 64;

/// A ClientHello in which more blocks than this are to be compared is read every time,
const BLOCKS_MAX: usize = 8;

/// and so is a longer one.
const LEN_MAX: usize = 2048;

/// How many shapes are known: of those whose lengths agree modulo this, one.
const SHAPES: usize = 8;

/// The shapes of ClientHellos that came before.
pub(crate) struct Shapes {
    known: Box<[Shape; SHAPES]>,
    /// No other one is learnt in this batch.
    learnt: bool,
}

/// What ClientHellos have in common.
#[derive(Clone, Copy)]
struct Shape {
    len: usize,
    layout: Layout,
    /// All bytes that are not opaque are in one of these.
    blocks: [Block; BLOCKS_MAX],
    used: usize,
}

/// Bytes of a ClientHello.
#[derive(Clone, Copy)]
#[repr(align(16))]
struct Block {
    bytes: [u8; BLOCK],
    /// Ones where they must not differ.
    mask: [u8; BLOCK],
    begin: usize,
}

impl Shapes {
    pub(crate) fn new() -> Self {
        Self {
            known: Box::new([Shape::NONE; SHAPES]),
            learnt: false,
        }
    }

    /// From now on one may be learnt again: ClientHellos of ever other shapes cost no more than that.
    pub(crate) fn begin_batch(&mut self) {
        self.learnt = false;
    }

    /// As [`ClientHello::read`], at once if the shape is known.
    #[inline]
    pub(crate) fn read<'a>(
        &mut self,
        body: &'a [u8],
        hello: &mut ClientHello<'a>,
    ) -> Result<(), Malformed> {
        let shape = &mut self.known[body.len() % SHAPES];
        if shape.fits(body) {
            *hello = ClientHello {
                body,
                layout: shape.layout,
            };
            return Ok(());
        }
        hello.read(body)?;
        if !self.learnt {
            self.learnt = true;
            if let Some(learnt) = Shape::of(hello) {
                *shape = learnt;
            }
        }
        Ok(())
    }
}

impl Shape {
    /// Fits nothing.
    const NONE: Self = Self {
        len: usize::MAX,
        layout: Layout::EMPTY,
        blocks: [Block {
            bytes: [0; BLOCK],
            mask: [0; BLOCK],
            begin: 0,
        }; BLOCKS_MAX],
        used: 0,
    };

    #[inline]
    fn fits(&self, body: &[u8]) -> bool {
        let mut blocks = self.blocks.iter().take(self.used);
        body.len() == self.len && blocks.all(|block| block.is_in(body))
    }

    /// `None` if it is too long.
    #[cold]
    fn of(hello: &ClientHello<'_>) -> Option<Self> {
        let body = hello.body;
        let mut mask = [0xff; LEN_MAX];
        let mask = mask.get_mut(..body.len())?;
        for opaque in hello.opaque() {
            mask.get_mut(opaque)?.fill(0);
        }
        let mut shape = Self {
            len: body.len(),
            layout: hello.layout,
            ..Self::NONE
        };
        let mut end = 0;
        while let Some(next) = mask[end..].iter().position(|&ones| ones != 0) {
            let begin = (end + next).min(body.len().checked_sub(BLOCK)?);
            *shape.blocks.get_mut(shape.used)? = Block {
                bytes: *body[begin..].first_chunk()?,
                mask: *mask[begin..].first_chunk()?,
                begin,
            };
            shape.used += 1;
            end = begin + BLOCK;
        }
        Some(shape)
    }
}

impl Block {
    #[inline]
    fn is_in(&self, body: &[u8]) -> bool {
        let there = body
            .get(self.begin..)
            .and_then(|from| from.first_chunk::<BLOCK>());
        let Some(there) = there else {
            return false;
        };
        let mut differ = 0;
        for ((byte, known), mask) in there.iter().zip(&self.bytes).zip(&self.mask) {
            differ |= (byte ^ known) & mask;
        }
        differ == 0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::client_hello::tests::{Hello, extension, psk};
    use super::*;
    use proptest::prelude::*;

    /// Reads a ClientHello, which must give what parsing gives. Returns whether its shape was known.
    fn read(shapes: &mut Shapes, body: &[u8]) -> bool {
        let known = shapes.known[body.len() % SHAPES].fits(body);
        let mut hello = ClientHello::EMPTY;
        let read = shapes.read(body, &mut hello).map(|()| hello);
        assert_eq!(read, ClientHello::parse(body));
        known
    }

    /// Reads the first of a batch.
    fn read_first(shapes: &mut Shapes, body: &[u8]) -> bool {
        shapes.begin_batch();
        read(shapes, body)
    }

    /// A resumption with tickets and binders of these lengths.
    fn resumption(tickets: &[usize], binders: &[u8]) -> Vec<u8> {
        let tickets: Vec<_> = tickets.iter().map(|len| vec![7; *len]).collect();
        let identities: Vec<_> = tickets.iter().map(Vec::as_slice).collect();
        let mut hello = Hello::resumption().without(41);
        hello.extensions.push(psk(&identities, binders));
        hello.body()
    }

    #[test]
    fn a_client_hello_that_differs_in_opaque_bytes_alone_is_known() {
        for body in [
            resumption(&[220], &[32]),
            resumption(&[100, 90], &[32, 48]),
            Hello::resumption().without(41).body(),
        ] {
            let mut shapes = Shapes::new();
            assert!(!read_first(&mut shapes, &body));
            let hello = ClientHello::parse(&body).unwrap();
            for at in 0..body.len() {
                for bits in [1, 0x80, 0xff] {
                    let mut changed = body.clone();
                    changed[at] ^= bits;
                    let is_opaque = hello.opaque().any(|opaque| opaque.contains(&at));
                    assert_eq!(read(&mut shapes, &changed), is_opaque, "{at}");
                }
            }
            assert!(read(&mut shapes, &body));
        }
    }

    #[test]
    fn in_each_batch_one_shape_is_learnt() {
        let [first, second] = [100, 101].map(|len| resumption(&[len], &[32]));
        let mut shapes = Shapes::new();
        assert!(!read_first(&mut shapes, &first));
        assert!(!read(&mut shapes, &second));
        assert!(read(&mut shapes, &first));
        assert!(!read(&mut shapes, &second));
        assert!(!read_first(&mut shapes, &second));
        assert!(read(&mut shapes, &second));
        assert!(read(&mut shapes, &first));
    }

    #[test]
    fn what_cannot_be_learnt_is_read_every_time_and_displaces_nothing() {
        let short = resumption(&[100], &[32]);
        let mut shapes = Shapes::new();
        read_first(&mut shapes, &short);
        // Too many bytes, and too many that are not opaque, of lengths that fall together with its.
        let long = resumption(&[100 + LEN_MAX], &[32]);
        let of_others = |len| {
            let unknown = extension(0xff00, &vec![1; len]);
            Hello::resumption().without(41).with(unknown).body()
        };
        let most = BLOCKS_MAX * BLOCK;
        let more = (SHAPES + short.len() % SHAPES - of_others(most).len() % SHAPES) % SHAPES;
        for body in [long, of_others(most + more)] {
            assert_eq!(body.len() % SHAPES, short.len() % SHAPES);
            for _ in 0..2 {
                assert!(!read_first(&mut shapes, &body));
            }
        }
        assert!(read(&mut shapes, &short));
    }

    proptest! {
        /// Whatever came before.
        #[test]
        fn all_are_read_as_they_are_parsed(
            hellos in prop::collection::vec(
                (
                    prop::collection::vec(1_usize..70, 1..4),
                    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
                    any::<bool>(),
                ),
                1..40,
            ),
        ) {
            let mut shapes = Shapes::new();
            for (tickets, changes, first) in hellos {
                let mut body = resumption(&tickets, &vec![32; tickets.len()]);
                for (at, to) in changes {
                    let at = at.index(body.len());
                    body[at] = to;
                }
                if first {
                    shapes.begin_batch();
                }
                read(&mut shapes, &body);
            }
        }

        #[test]
        fn any_bytes_are_read_as_they_are_parsed(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..9),
        ) {
            let mut shapes = Shapes::new();
            for body in bodies {
                read_first(&mut shapes, &body);
            }
        }
    }
}
