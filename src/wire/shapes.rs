//! ClientHellos that are like one that came before.
//!
//! The clients of a gateway are mostly of few kinds, and two ClientHellos of one kind differ in
//! nothing but what is [opaque](ClientHello::opaque) to whoever reads them: random bytes, names,
//! public keys, tickets and their ages, binders. So where all else is the same, byte by byte,
//! everything lies where it lay then.

use super::client_hello::ClientHello;
use super::layout::Layout;
use super::malformed::Malformed;

/// Bytes that are compared together.
const BLOCK: usize = 64;

/// No shape has more blocks than this.
const BLOCKS_MAX: usize = 8;

/// No shape is longer.
const LEN_MAX: usize = 2048;

/// How many shapes are known: of those whose lengths agree modulo this, one.
const SHAPES: usize = 8;

/// Of so many that are like none, one is learnt: to learn takes as long as to parse some others.
const PATIENCE: u32 = 32;

/// The shapes of ClientHellos that came before.
pub(crate) struct Shapes {
    known: Box<[Shape; SHAPES]>,
    /// How many with a valid binder came whose shape was not known.
    unlike: u32,
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
    /// Ones where they are not opaque.
    mask: [u8; BLOCK],
    /// What is there; zeros elsewhere.
    bytes: [u8; BLOCK],
    begin: usize,
}

impl Shapes {
    pub(crate) fn new() -> Self {
        Self {
            known: Box::new([Shape::NONE; SHAPES]),
            unlike: 0,
        }
    }

    /// As [`ClientHello::read`], at once if the shape is known. Returns whether it is.
    #[inline]
    pub(crate) fn read<'a>(
        &self,
        body: &'a [u8],
        hello: &mut ClientHello<'a>,
    ) -> Result<bool, Malformed> {
        let shape = &self.known[body.len() % SHAPES];
        if shape.fits(body) {
            *hello = ClientHello {
                body,
                layout: shape.layout,
            };
            return Ok(true);
        }
        hello.read(body)?;
        Ok(false)
    }

    #[cfg(test)]
    pub(crate) fn knows(&self, body: &[u8]) -> bool {
        self.known[body.len() % SHAPES].fits(body)
    }

    /// The binder of this was verified, and its shape was not known. To be said of no other: its
    /// shape may displace another.
    #[cold]
    #[inline(never)]
    pub(crate) fn learn(&mut self, hello: &ClientHello<'_>) {
        let is_next = self.unlike.is_multiple_of(PATIENCE);
        self.unlike = self.unlike.wrapping_add(1);
        if is_next && let Some(shape) = Shape::of(hello) {
            self.known[hello.body.len() % SHAPES] = shape;
        }
    }
}

impl Shape {
    /// Fits nothing.
    const NONE: Self = Self {
        len: usize::MAX,
        layout: Layout::EMPTY,
        blocks: [Block {
            mask: [0; BLOCK],
            bytes: [0; BLOCK],
            begin: 0,
        }; BLOCKS_MAX],
        used: 0,
    };

    #[inline]
    fn fits(&self, body: &[u8]) -> bool {
        let mut blocks = self.blocks.iter().take(self.used);
        body.len() == self.len && blocks.all(|block| block.is_in(body))
    }

    /// `None` if it is shorter than a block, too long, or of too many blocks.
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
            let mask: [u8; BLOCK] = *mask[begin..].first_chunk()?;
            let mut bytes = *body[begin..].first_chunk()?;
            bytes
                .iter_mut()
                .zip(mask)
                .for_each(|(byte, ones)| *byte &= ones);
            *shape.blocks.get_mut(shape.used)? = Block { mask, bytes, begin };
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
        for ((byte, mask), known) in there.iter().zip(&self.mask).zip(&self.bytes) {
            differ |= (byte & mask) ^ known;
        }
        differ == 0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::client_hello::tests::{Hello, extension, psk, vec16};
    use super::super::{HANDSHAKE_HEADER_LEN, PLAINTEXT_HEADER_LEN};
    use super::*;
    use proptest::prelude::*;

    /// Reads a ClientHello, which must give what parsing gives. Returns whether its shape was known.
    fn read(shapes: &Shapes, body: &[u8]) -> bool {
        let mut hello = ClientHello::EMPTY;
        let known = shapes.read(body, &mut hello);
        assert_eq!(known.map(|_| hello), ClientHello::parse(body));
        known == Ok(true)
    }

    /// Learns the shape if it can be learnt.
    fn learn(shapes: &mut Shapes, body: &[u8]) {
        if let Ok(hello) = ClientHello::parse(body) {
            shapes.unlike = 0;
            shapes.learn(&hello);
        }
    }

    /// A resumption with tickets and binders of these lengths.
    fn resumption(tickets: &[usize], binders: &[u8]) -> Hello {
        let tickets: Vec<_> = tickets.iter().map(|len| vec![7; *len]).collect();
        let identities: Vec<_> = tickets.iter().map(Vec::as_slice).collect();
        let mut hello = Hello::resumption().without(41);
        hello.extensions.push(psk(&identities, binders));
        hello
    }

    fn without_extensions() -> Vec<u8> {
        let hello = Hello {
            session_id: vec![5; 32],
            ..Hello::resumption()
        };
        let mut body = hello.body();
        body.truncate(body.len() - 2 - hello.extensions.concat().len());
        body
    }

    #[test]
    fn a_client_hello_that_differs_in_opaque_bytes_alone_is_known() {
        /// Random bytes, suites, server name, groups, signature algorithms, connection ID, key share.
        const OPAQUE: usize = 32 + 4 + 15 + 2 + 2 + 3 + 32;
        let shares = [vec16(&[9; 65]), vec16(&[1])].map(|key| [&[0, 23][..], &key].concat());
        let two_shares = extension(51, &vec16(&shares.concat()));
        let cookie = extension(44, &vec16(&[6; 50]));
        let older = Hello {
            cookie: vec![8; 20],
            ..Hello::resumption().without(43).without(41)
        };
        let with_session_id = Hello {
            session_id: vec![5; 32],
            ..resumption(&[100], &[32]).with(cookie)
        };
        let grease = extension(0x7a7a, &[1]);
        for (body, opaque) in [
            (resumption(&[220], &[32]).body(), OPAQUE + 224 + 32),
            (
                resumption(&[100, 1], &[32, 48]).body(),
                OPAQUE + 104 + 5 + 32 + 48,
            ),
            (
                resumption(&[9], &[255]).without(51).with(two_shares).body(),
                OPAQUE - 32 + 66 + 13 + 255,
            ),
            (with_session_id.body(), OPAQUE + 32 + 50 + 104 + 32),
            (
                resumption(&[9], &[32]).with(grease).body(),
                OPAQUE + 13 + 32,
            ),
            (Hello::resumption().without(41).body(), OPAQUE),
            (older.body(), OPAQUE + 20),
            (without_extensions(), 32 + 32 + 4),
        ] {
            let mut shapes = Shapes::new();
            assert!(!read(&shapes, &body));
            learn(&mut shapes, &body);
            assert!(read(&shapes, &body));
            let with = |at: usize, bits| {
                let mut changed = body.clone();
                changed[at] ^= bits;
                changed
            };
            let known = |at: &usize| [1, 0x80, 0xff].map(|bits| read(&shapes, &with(*at, bits)));
            let (opaque_ones, others): (Vec<_>, Vec<_>) =
                (0..body.len()).partition(|at| known(at) == [true; 3]);
            assert_eq!(opaque_ones.len(), opaque);
            assert!(others.iter().all(|at| known(at) == [false; 3]));
            // Of other lengths, also of those that are looked for in the same place.
            for len in 0..body.len() {
                assert!(!read(&shapes, &body[..len]));
            }
            for more in 1..3 * SHAPES {
                assert!(!read(&shapes, &[&body[..], &vec![0; more]].concat()));
            }
        }
    }

    #[test]
    fn the_resumptions_of_a_real_client_are_alike() {
        for datagrams in [
            include_str!("../../tests/flights/wolfssl_aes128_x25519/dgrams.txt"),
            include_str!("../../tests/flights/wolfssl_aes256_p256/dgrams.txt"),
            include_str!("../../tests/flights/wolfssl_chacha_x25519/dgrams.txt"),
        ] {
            let [first, second] = ["conn1 000 > ", "conn2 000 > "].map(|begin| {
                let mut lines = datagrams.lines();
                let sent = lines.find_map(|line| line.strip_prefix(begin)).unwrap();
                let (_, digits) = sent.split_once(' ').unwrap();
                let pairs = digits.as_bytes().as_chunks::<2>().0.iter();
                let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
                let bytes: Vec<_> = pairs.map(|pair| byte(pair)).collect();
                bytes[PLAINTEXT_HEADER_LEN + HANDSHAKE_HEADER_LEN..].to_vec()
            });
            let mut shapes = Shapes::new();
            learn(&mut shapes, &first);
            assert!(read(&shapes, &second));
        }
    }

    #[test]
    fn of_many_that_are_unlike_few_are_learnt() {
        let bodies: Vec<_> = (0..2 * PATIENCE as usize)
            .map(|len| resumption(&[100 + len], &[32]).body())
            .collect();
        let mut shapes = Shapes::new();
        for (at, body) in bodies.iter().enumerate() {
            shapes.learn(&ClientHello::parse(body).unwrap());
            assert_eq!(read(&shapes, body), at % PATIENCE as usize == 0);
        }
    }

    #[test]
    fn a_shape_gives_way_to_one_of_the_same_place_and_to_no_other() {
        let of_ticket = |len| resumption(&[len], &[32]).body();
        let mut shapes = Shapes::new();
        for len in 100..100 + SHAPES {
            learn(&mut shapes, &of_ticket(len));
        }
        assert!((100..100 + SHAPES).all(|len| read(&shapes, &of_ticket(len))));
        learn(&mut shapes, &of_ticket(100 + SHAPES));
        assert!((101..=100 + SHAPES).all(|len| read(&shapes, &of_ticket(len))));
        assert!(!read(&shapes, &of_ticket(100)));
    }

    #[test]
    fn what_cannot_be_learnt_displaces_nothing() {
        let short = resumption(&[100], &[32]).body();
        let mut shapes = Shapes::new();
        learn(&mut shapes, &short);
        // Too many bytes, and too many that are not opaque, of lengths that fall together with its.
        let long = resumption(&[100 + LEN_MAX], &[32]).body();
        let of_others = |len| {
            let unknown = extension(0xff00, &vec![1; len]);
            Hello::resumption().without(41).with(unknown).body()
        };
        let most = BLOCKS_MAX * BLOCK;
        let more = (SHAPES + short.len() % SHAPES - of_others(most).len() % SHAPES) % SHAPES;
        for body in [long, of_others(most + more)] {
            assert_eq!(body.len() % SHAPES, short.len() % SHAPES);
            learn(&mut shapes, &body);
            assert!(!read(&shapes, &body));
        }
        assert!(read(&shapes, &short));
    }

    /// What may be done to a ClientHello on its way.
    #[derive(Clone, Debug)]
    enum Change {
        Set(prop::sample::Index, u8),
        Swap(prop::sample::Index, prop::sample::Index),
        Cut(prop::sample::Index),
        Append(Vec<u8>),
    }

    fn change() -> impl Strategy<Value = Change> {
        let index = any::<prop::sample::Index>;
        prop_oneof![
            4 => (index(), any::<u8>()).prop_map(|(at, to)| Change::Set(at, to)),
            2 => (index(), index()).prop_map(|(a, b)| Change::Swap(a, b)),
            1 => index().prop_map(Change::Cut),
            1 => prop::collection::vec(any::<u8>(), 0..17).prop_map(Change::Append),
        ]
    }

    fn changed(mut body: Vec<u8>, changes: &[Change]) -> Vec<u8> {
        for change in changes {
            match change {
                Change::Append(bytes) => body.extend(bytes),
                _ if body.is_empty() => {}
                Change::Set(at, to) => {
                    let at = at.index(body.len());
                    body[at] = *to;
                }
                Change::Swap(a, b) => {
                    let (a, b) = (a.index(body.len()), b.index(body.len()));
                    body.swap(a, b);
                }
                Change::Cut(at) => body.truncate(at.index(body.len())),
            }
        }
        body
    }

    proptest! {
        #[test]
        fn all_are_read_as_they_are_parsed_whatever_came_before(
            hellos in prop::collection::vec(
                (
                    // Few, so that lengths meet that are made up of others.
                    prop::collection::vec(1_usize..4, 1..4),
                    prop::collection::vec(change(), 0..4),
                    any::<bool>(),
                ),
                1..40,
            ),
        ) {
            let mut shapes = Shapes::new();
            for (tickets, changes, is_clients) in hellos {
                let body = resumption(&tickets, &vec![32; tickets.len()]).body();
                let body = changed(body, &changes);
                read(&shapes, &body);
                if is_clients {
                    learn(&mut shapes, &body);
                    read(&shapes, &body);
                }
            }
        }
    }
}
