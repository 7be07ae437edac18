//! Writes `seeds/TARGET/`, with which the targets begin, from what real clients sent and what the
//! targets' own clients send: `cargo run --example seeds`.

use std::error::Error;
use std::fs;
use std::path::Path;

use dtls_session::wire::{ClientHello, ContentType, NewSessionTicket, Record, records};
use dtls_session_fuzz::captured::{Captured, client_hellos, datagrams};
use dtls_session_fuzz::gateway::{Rules, World};
use dtls_session_fuzz::hello::hellos;
use dtls_session_fuzz::script::Writer;

type Seeds = Vec<Vec<u8>>;

/// The longest seed, in bytes. Short ones are mutated faster.
const SEED_MAX: usize = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let targets: [(&str, Seeds); 10] = [
        ("admission", admission()),
        ("flight", flight()),
        ("gateway", gateway()),
        ("handover", handover()),
        ("history", history()),
        ("new_session_ticket", new_session_ticket()),
        ("reassembly", reassembly()),
        ("records", records_of_one_epoch()),
        ("ticket", ticket()),
        ("wide", wide()),
    ];
    for (target, seeds) in targets {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("seeds")
            .join(target);
        fs::create_dir_all(&dir)?;
        let mut bytes = 0;
        for (n, mut seed) in seeds.into_iter().enumerate() {
            seed.truncate(SEED_MAX);
            bytes += seed.len();
            fs::write(dir.join(format!("{n:02}")), seed)?;
        }
        println!("{target}: {bytes} bytes");
    }
    Ok(())
}

/// What the clients of each captured connection sent.
fn connections() -> Vec<Vec<Captured>> {
    let mut connections: Vec<Vec<Captured>> = Vec::new();
    for datagram in datagrams().into_iter().filter(|d| d.is_clients) {
        match connections.last_mut() {
            Some(last)
                if (last[0].case, last[0].connection) == (datagram.case, datagram.connection) =>
            {
                last.push(datagram);
            }
            _ => connections.push(vec![datagram]),
        }
    }
    connections
}

fn admission() -> Seeds {
    let flights = connections().into_iter().map(|connection| {
        let script = Writer::default().raw(&[0]);
        let script = connection.iter().take(3).fold(script, |script, datagram| {
            script.raw(&[0]).bytes(&datagram.bytes)
        });
        script.raw(&[3, 0]).finish()
    });
    // Issue, offer, admit both datagrams; again, changed, after a while, from elsewhere.
    let genuine = (0..hellos().len() as u8).map(|hello| {
        Writer::default()
            .raw(&[
                hello & 31,
                5,
                0,
                hello,
                6,
                0,
                4,
                176,
                7,
                0,
                0,
                7,
                0,
                1,
                3,
                0,
            ])
            .raw(&[11, 1, 0, 7, 0, 0, 9, 4, 1, 64 + 7, 0, 0, 3, 0])
            .raw(&[6, 0, 0, 100, 7, 1, 0, 7, 1, 1, 7, 1, 2, 3, 0])
            .raw(&[8, 0, 0, 0, 90, 0, 3, 3, 1, 13, 14, 10, 0, 0, 7, 2, 0, 3, 1])
            .raw(&[12, 0, 9, 32 + 7, 0, 0, 3, 0])
            .finish()
    });
    flights.chain(genuine).collect()
}

fn flight() -> Seeds {
    let changed = |hello: u8| {
        let hello = Writer::default().raw(&[8 * (hello & 1), hello]);
        [
            hello.raw(&[6, 0, 0, 60, 0, 1, 5, 9]),
            Writer::default().raw(&[0, 1, 1, 2, 5, 4, 5, 9]),
            Writer::default().raw(&[0, 2, 4, 0, 0, 0, 120, 5, 7, 0, 1, 9, 8]),
        ]
    };
    let scripts = (0..hellos().len() as u8).flat_map(changed);
    scripts.map(Writer::finish).collect()
}

fn history() -> Seeds {
    let scripts: [&[u8]; 5] = [
        // Once, and again from both lanes, with another key, and after a restart.
        &[0, 1, 0, 10, 4, 0, 36, 0, 11, 4, 0, 13, 4, 0, 68, 0, 12, 7],
        // A warm restart: of two flights one is still on its way.
        &[
            0, 1, 1, 9, 0, 2, 5, 14, 13, 79, 0, 68, 0, 68, 1, 4, 0, 4, 1, 71,
        ],
        // Recorded ClientHellos, of a ticket that is used again, and a clock that steps.
        &[
            4, 1, 3, 0, 3, 0, 3, 0, 9, 40, 0, 4, 0, 10, 20, 0, 4, 1, 4, 2, 7,
        ],
        // Few serials.
        &[
            16, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 4, 0, 4, 1,
        ],
        // What was changed, in between.
        &[
            8, 1, 7, 3, 8, 0, 2, 3, 4, 0, 9, 39, 15, 4, 0, 8, 0, 3, 7, 1, 0, 5, 1,
        ],
    ];
    scripts.map(<[u8]>::to_vec).to_vec()
}

fn ticket() -> Seeds {
    (0..6)
        .map(|n| {
            let script = Writer::default()
                .raw(&[n])
                .bytes(&vec![n; 40 * usize::from(n)]);
            let script = script.raw(&[0, 0, 0, 9, n & 1]);
            script
                .raw(&[2, 0, 30 * n, 0, 3, 1, 0, 16, 3, 0, 50, 1, 7])
                .finish()
        })
        .collect()
}

fn new_session_ticket() -> Seeds {
    let mut seeds = Vec::new();
    for (hello, n) in client_hellos().iter().zip(0_u8..) {
        let Some(offered) = ClientHello::parse(hello)
            .ok()
            .and_then(|h| h.pre_shared_keys())
        else {
            continue;
        };
        for identity in offered.identities() {
            let message = NewSessionTicket {
                ticket_lifetime: 3_600,
                ticket_age_add: identity.obfuscated_ticket_age,
                ticket_nonce: &[n],
                ticket: identity.identity,
                max_early_data_size: (n & 1 == 0).then_some(16_384),
            };
            let mut body = [0; 1024];
            if let Ok(len) = message.write(&mut body) {
                let script = Writer::default()
                    .raw(&[n % 3, 0, 0, 4, n])
                    .raw(&body[..len]);
                seeds.push(script.finish());
            }
        }
    }
    seeds
}

fn reassembly() -> Seeds {
    let real = connections().into_iter().map(|connection| {
        let mut script = Writer::default();
        for datagram in &connection {
            for record in records(&datagram.bytes, 0).flatten() {
                if let Record::Plaintext(record) = record
                    && record.content_type == ContentType::HANDSHAKE
                {
                    script = script.raw(&[0]).bytes(record.fragment);
                }
            }
        }
        script.raw(&[6]).finish()
    });
    // Three parts of 90 bytes of one message, the last first; and what overlaps.
    let parts = [60_u8, 0, 30, 20].into_iter();
    let parts = parts.fold(Writer::default(), |script, offset| {
        script.raw(&[2, 0, 0, 0, 90, 0, offset, 0, 30, offset])
    });
    real.chain([parts.finish()]).collect()
}

fn records_of_one_epoch() -> Seeds {
    let mut seeds = Vec::new();
    for (connection, n) in connections().iter().zip(0_u8..) {
        let mut script = Writer::default().raw(&[n, n * 5]);
        for datagram in connection.iter().take(6) {
            // Sealed, delivered, and delivered again; then somebody else's.
            let content = &datagram.bytes[..datagram.bytes.len().min(100)];
            script = script.raw(&[0, n % 3]).bytes(content);
            script = script.raw(&[7, 0, 0, 7, 0, 1, 6, 0, 0, 0, 9, 0, 2]);
            script = script.raw(&[5]).bytes(content);
        }
        seeds.push(script.finish());
    }
    // The first record again when the window has just left it, or is about to.
    for lost in 61..65 {
        let script = Writer::default().raw(&[lost, 0, 0, 0]).bytes(b"first");
        let script = script.raw(&[7, 0, 0, 4, lost, 0, 0]).bytes(b"last");
        let script = script.raw(&[7, 0, 1, 7, 0, 0]);
        seeds.push(script.finish());
    }
    seeds
}

fn handover() -> Seeds {
    let mut world = World::new(Rules::of(0), 0);
    for n in 0..4 {
        if let Some(ticket) = world.issue(0, n, n) {
            world.offer(ticket, 1200);
            world.judge(0, n, n, 1);
        }
    }
    world.hand_over(0);
    let head = &world.registers()[0][..200];
    vec![
        vec![1, 0b1010_1010, 1, 2, 0, 9, 0, 3, 2, 1, 0, 1, 255],
        Writer::default().raw(&[1, 3, 2, 0, 60, 1, 1]).finish(),
        Writer::default().raw(&[2, 255, 0]).raw(head).finish(),
        Writer::default().raw(&[3, 15, 2]).bytes(b"more").finish(),
        Writer::default()
            .raw(&[0, 0, 0])
            .bytes(&head[64..])
            .finish(),
        // One issuer with one lane, of one chunk with 512 words.
        Writer::default()
            .raw(&[
                0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0, 0, 0, 0, 0, 9,
            ])
            .raw(&[1, 0, 0, 0, 0, 2, 0, 85])
            .finish(),
    ]
}

fn wide() -> Seeds {
    // The lengths of real ClientHellos, and of every block near them.
    let real = client_hellos().into_iter().map(|hello| {
        let len = |len: usize| 128 | (len / 23) as u8;
        let flow = |n: u8| [1, n, 0, len(hello.len() + 10 * usize::from(n)), len(35)];
        (0..9).flat_map(flow).collect()
    });
    let batches = [1, 2, 8, 9, 16, 17, 33, 73].into_iter().map(|flows| {
        let flow = |n: u8| {
            let [before, truncated, binders] = [37, 89, 53].map(|m| n.wrapping_mul(m));
            [n, n, before, truncated, binders & 127]
        };
        (0..flows).flat_map(flow).collect()
    });
    real.chain(batches).collect()
}

fn gateway() -> Seeds {
    // A whole handshake with a cookie, data, and one that resumes with early data.
    let whole = |rules: u8, profile: u8| {
        let connect = |profile: u8, peer: u8, earlier: u8| {
            let hellos = [[2, peer], [7, 7], [7, 11], [11, 11]].concat();
            let rest = [[11, 11], [11, 11], [3, peer], [7, 11], [11, 11]].concat();
            let data = [4, peer, 7, 11, 11];
            let begin = [0, profile, earlier];
            [&begin[..], &hellos, &hellos, &rest, &data].concat()
        };
        let first = connect(profile, 0, 0);
        let second = connect(profile, 1, 0);
        // An ACK of the tickets, a KeyUpdate, data under new keys, an alert.
        let more = Writer::default()
            .raw(&[5, 1, 1, 3])
            .bytes(&[0, 16, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0])
            .raw(&[7, 11, 22, 1, 2])
            .bytes(&[1])
            .raw(&[7, 11, 4, 1, 7, 11, 14, 4, 0, 5, 1, 1, 0])
            .bytes(&[1, 0])
            .raw(&[7, 11])
            .finish();
        [&[rules][..], &first, &second, &more].concat()
    };
    let handshakes = [
        (2, 0),
        (2, 1),
        (3, 6),
        (2, 16),
        (10, 32),
        (4, 64),
        (50, 2),
        (18, 8),
    ];
    let handshakes = handshakes.map(|(rules, profile)| whole(rules, profile));
    let strangers = connections().into_iter().step_by(3).map(|connection| {
        let script = Writer::default().raw(&[2]);
        let script = connection.iter().take(3).fold(script, |script, datagram| {
            script.raw(&[15]).bytes(&datagram.bytes)
        });
        script.finish()
    });
    handshakes.into_iter().chain(strangers).collect()
}
