use super::{Btf, BtfError, Parameter, ParameterKind};
use crate::abi::ByteOrder;

/// `struct pair { … }` (16 bytes) and, by way of a typedef and `const`, the parameters of
/// `f(struct pair *p, const count_t n, unsigned char c, enum e, struct pair s, …)`; `g(void)`.
pub(crate) fn blob(order: ByteOrder) -> Vec<u8> {
    let strings = b"\0int\0uchar\0pair\0count_t\0f\0g\0p\0n\0c\0s\0";
    let name = |text: &str| {
        let wanted = [b"\0", text.as_bytes(), b"\0"].concat();
        strings.windows(wanted.len()).position(|part| part == wanted).unwrap() as u32 + 1
    };
    let info = |kind: u32, count: u32| kind << 24 | count;
    let words = [
        vec![name("int"), info(1, 0), 4, 1 << 24 | 32], // 1
        vec![name("uchar"), info(1, 0), 1, 8],          // 2
        vec![name("pair"), info(4, 2), 16, name("p"), 1, 0, name("n"), 1, 64], // 3
        vec![0, info(2, 0), 3],                         // 4: struct pair *
        vec![name("count_t"), info(8, 0), 1],           // 5
        vec![0, info(10, 0), 5],                        // 6: const count_t
        vec![0, info(6, 1), 4, name("c"), 7],           // 7: enum
        vec![0, info(13, 6), 1, name("p"), 4, name("n"), 6, name("c"), 2, 0, 7, name("s"), 3, 0, 0], // 8
        vec![name("f"), info(12, 1), 8],  // 9
        vec![0, info(13, 0), 0],          // 10
        vec![name("g"), info(12, 1), 10], // 11
    ]
    .concat();
    let types = words.len() as u32 * 4;
    let u32_bytes = |word: u32| match order {
        ByteOrder::Little => word.to_le_bytes(),
        ByteOrder::Big => word.to_be_bytes(),
    };
    let mut bytes = match order {
        ByteOrder::Little => vec![0x9f, 0xeb, 1, 0],
        ByteOrder::Big => vec![0xeb, 0x9f, 1, 0],
    };
    for word in [24, 0, types, types, strings.len() as u32] {
        bytes.extend(u32_bytes(word));
    }
    bytes.extend(words.into_iter().flat_map(u32_bytes));
    bytes.extend(strings);
    bytes
}

#[test]
fn functions_have_their_parameters_in_either_byte_order() {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let btf = Btf::parse(blob(order)).unwrap();
        assert_eq!(btf.function_count(), 2);
        let parameters: Vec<_> = btf.parameters("f").unwrap().collect();
        let expected = [
            ("p", ParameterKind::Pointer),
            ("n", ParameterKind::Integer { size: 4, signed: true }),
            ("c", ParameterKind::Integer { size: 1, signed: false }),
            ("", ParameterKind::Enum { size: 4 }),
            ("s", ParameterKind::Aggregate { size: 16 }),
        ];
        assert_eq!(parameters, expected.map(|(name, value)| Parameter { name, value }));
        assert_eq!(btf.parameters("g").unwrap().count(), 0);
        assert!(btf.parameters("h").is_none());
    }
}

#[test]
fn functions_are_declared_as_in_c() {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let btf = Btf::parse(blob(order)).unwrap();
        assert_eq!(
            btf.prototype("f").unwrap(),
            "int f(struct pair *p, const count_t n, uchar c, enum {...}, struct pair s, ...)"
        );
        assert_eq!(btf.prototype("g").unwrap(), "void g(void)");
        assert_eq!(btf.prototype("h"), None);
    }
}

#[test]
fn damage_is_an_error_with_its_place() {
    let good = blob(ByteOrder::Little);
    assert_eq!(
        Btf::parse(&b"\x7fELF"[..]).unwrap_err().to_string(),
        "header at offset 0x0 of the BTF end behind its last byte"
    );
    let mut bytes = good.clone();
    bytes[0] = 1;
    assert_eq!(Btf::parse(bytes).unwrap_err(), BtfError::Magic([1, 0xeb]));
    let mut bytes = good.clone();
    bytes[24 + 7] = 31;
    assert_eq!(Btf::parse(bytes).unwrap_err(), BtfError::Kind { kind: 31, offset: 24 });
    for len in 0..good.len() {
        assert!(Btf::parse(&good[..len]).is_err(), "{len}");
    }
    // Every byte turned: an error or something else, but an end.
    for at in 0..good.len() {
        for value in [0, 0xff, good[at] ^ 1] {
            let mut bytes = good.clone();
            bytes[at] = value;
            if let Ok(btf) = Btf::parse(bytes) {
                for name in ["f", "g", ""] {
                    btf.parameters(name).map(Iterator::count);
                    assert!(btf.prototype(name).is_none_or(|text| text.len() < 20_000));
                }
            }
        }
    }
}

#[test]
fn types_that_stand_for_themselves_end() {
    let mut bytes = blob(ByteOrder::Little);
    // The typedef is one of its own `const`.
    let info = (8u32 << 24).to_le_bytes();
    let typedef = bytes.chunks(4).position(|word| word == info).unwrap() * 4;
    bytes[typedef + 4] = 6;
    let btf = Btf::parse(bytes).unwrap();
    assert_eq!(btf.parameters("f").unwrap().nth(1).unwrap().value, ParameterKind::Other);
}
