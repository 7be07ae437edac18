//! The round keys of AES (FIPS 197, 5.2), to know them when they are met.

use std::sync::LazyLock;

/// The key schedule of a key of 16 or 32 bytes, round key by round key.
pub(crate) fn round_keys(key: &[u8]) -> Vec<[u8; 16]> {
    let key_words = key.len() / 4;
    let rounds = key_words + 6;
    let mut words: Vec<[u8; 4]> = key.chunks_exact(4).map(|w| w.try_into().unwrap()).collect();
    let mut constant = 1;
    for at in key_words..4 * (rounds + 1) {
        let mut word = words[at - 1];
        if at % key_words == 0 {
            word.rotate_left(1);
            word = word.map(substitute);
            word[0] ^= constant;
            constant = double(constant);
        } else if key_words > 6 && at % key_words == 4 {
            word = word.map(substitute);
        }
        for (byte, before) in word.iter_mut().zip(words[at - key_words]) {
            *byte ^= before;
        }
        words.push(word);
    }
    let (keys, _) = words.as_flattened().as_chunks();
    keys.to_vec()
}

fn substitute(byte: u8) -> u8 {
    static S_BOX: LazyLock<[u8; 256]> = LazyLock::new(|| std::array::from_fn(|n| s_box(n as u8)));
    S_BOX[usize::from(byte)]
}

/// The inverse in GF(2^8), and an affine map (FIPS 197, 5.1.1).
fn s_box(byte: u8) -> u8 {
    let inverse = (0..=255).find(|other| multiply(byte, *other) == 1);
    let inverse: u8 = inverse.unwrap_or(0);
    (1..=4).fold(inverse ^ 0x63, |sum, turn| sum ^ inverse.rotate_left(turn))
}

fn multiply(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b > 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        a = double(a);
        b >>= 1;
    }
    product
}

const fn double(byte: u8) -> u8 {
    (byte << 1) ^ ((byte >> 7) * 0x1b)
}

#[test]
fn round_keys_are_those_of_fips_197() {
    // Appendix A.1 and A.3: the last words of both examples.
    let key = 0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128.to_be_bytes();
    let last = round_keys(&key)[10];
    assert_eq!(
        u128::from_be_bytes(last),
        0xd014_f9a8_c9ee_2589_e13f_0cc8_b663_0ca6
    );
    let key = [
        0x603d_eb10_15ca_71be_2b73_aef0_857d_7781_u128.to_be_bytes(),
        0x1f35_2c07_3b61_08d7_2d98_10a3_0914_dff4_u128.to_be_bytes(),
    ]
    .concat();
    let last = round_keys(&key)[14];
    assert_eq!(
        u128::from_be_bytes(last),
        0xfe48_90d1_e618_8d0b_046d_f344_706c_631e
    );
}
