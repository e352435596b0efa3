//! SCSI commands that move or describe blocks, decoded from their bytes.
use crate::print_fmt::{Compat, number};

/// How numbers come out whose text the older release gets wrong.
#[derive(Clone, Copy)]
struct Numbers {
    /// Block numbers and lengths are taken for signed 32-bit numbers, and differences wrap.
    faulty: bool,
}

impl Numbers {
    /// A block number or a length in blocks.
    fn blocks(self, cdb: &[u8], start: usize, len: usize) -> u64 {
        let value = field(cdb, start, len);
        if self.faulty && len >= 4 && value >> 31 & 1 == 1 { value | !0xffff_ffff } else { value }
    }

    /// How many regions of 16 bytes follow a header of 8.
    fn regions(self, len: u64) -> u64 {
        if self.faulty {
            u64::from((len as u32).wrapping_sub(8)) / 16
        } else {
            len.saturating_sub(8) / 16
        }
    }
}

/// Big-endian number at a place of a command that may be shorter.
fn field(cdb: &[u8], start: usize, len: usize) -> u64 {
    (start..start + len).fold(0, |value, at| value << 8 | u64::from(byte(cdb, at)))
}

fn byte(cdb: &[u8], at: usize) -> u8 {
    cdb.get(at).copied().unwrap_or(0)
}

fn part(out: &mut Vec<u8>, label: &str, value: u64) {
    out.extend_from_slice(label.as_bytes());
    number::decimal(out, value);
}

/// Appends the meaning of a command, `-` when it is not known.
pub(in super::super) fn parse_cdb(out: &mut Vec<u8>, cdb: &[u8], compat: Compat) {
    let numbers = Numbers { faulty: compat == Compat::V3_1_6 };
    let operation = byte(cdb, 0);
    let protect = u64::from(byte(cdb, 1) >> 5);
    let transfer = |out: &mut Vec<u8>, lba: u64, blocks: u64| {
        part(out, "lba=", lba);
        part(out, " txlen=", blocks);
        part(out, " protect=", protect);
    };
    match operation {
        // READ(6), WRITE(6)
        0x08 | 0x0a => {
            part(out, "lba=", field(cdb, 1, 3) & 0x1f_ffff);
            part(out, " txlen=", field(cdb, 4, 1));
        }
        // READ(10), WRITE(10), VERIFY(10), WRITE SAME(10)
        0x28 | 0x2a | 0x2f | 0x41 => {
            transfer(out, numbers.blocks(cdb, 2, 4), field(cdb, 7, 2));
            if operation == 0x41 {
                part(out, " unmap=", u64::from(byte(cdb, 1) >> 3 & 1));
            }
        }
        // READ(12), WRITE(12), VERIFY(12)
        0xa8 | 0xaa | 0xaf => transfer(out, numbers.blocks(cdb, 2, 4), numbers.blocks(cdb, 6, 4)),
        // READ(16), WRITE(16), VERIFY(16), WRITE SAME(16)
        0x88 | 0x8a | 0x8f | 0x93 => {
            transfer(out, numbers.blocks(cdb, 2, 8), numbers.blocks(cdb, 10, 4));
            if operation == 0x93 {
                part(out, " unmap=", u64::from(byte(cdb, 1) >> 3 & 1));
            }
        }
        // UNMAP
        0x42 => part(out, "regions=", numbers.regions(field(cdb, 7, 2))),
        // SERVICE ACTION IN(16)
        0x9e => {
            let name = match byte(cdb, 1) & 0x1f {
                0x10 => "READ_CAPACITY_16",
                0x12 => "GET_LBA_STATUS",
                _ => return out.extend_from_slice(b"UNKNOWN"),
            };
            out.extend_from_slice(name.as_bytes());
            part(out, " lba=", numbers.blocks(cdb, 2, 8));
            part(out, " alloc_len=", field(cdb, 10, 4));
        }
        // Variable length
        0x7f => {
            let (name, same) = match field(cdb, 8, 2) {
                0x09 => ("READ_32", false),
                0x0a => ("VERIFY_32", false),
                0x0b => ("WRITE_32", false),
                0x0d => ("WRITE_SAME_32", true),
                _ => return out.push(b'-'),
            };
            out.extend_from_slice(name.as_bytes());
            part(out, " lba=", numbers.blocks(cdb, 12, 8));
            part(out, " txlen=", numbers.blocks(cdb, 28, 4));
            part(out, " protect=", u64::from(byte(cdb, 10) >> 5));
            part(out, " ei_lbrt=", field(cdb, 20, 4));
            if same {
                part(out, " unmap=", u64::from(byte(cdb, 10) >> 3 & 1));
            }
        }
        _ => out.push(b'-'),
    }
}

#[cfg(test)]
mod tests {
    use super::{Compat, parse_cdb};

    fn parse_as(compat: Compat, cdb: &[u8]) -> String {
        let mut out = Vec::new();
        parse_cdb(&mut out, cdb, compat);
        String::from_utf8(out).unwrap()
    }

    fn parse(cdb: &[u8]) -> String {
        parse_as(Compat::V3_4, cdb)
    }

    #[test]
    fn large_block_numbers_are_wrong_only_as_the_older_release_has_them() {
        let read_12 = [0xa8, 0, 0xf5, 0xf5, 0xf5, 0xf5, 0x80, 0, 0, 0, 0, 0];
        assert_eq!(parse(&read_12), "lba=4126537205 txlen=2147483648 protect=0");
        assert_eq!(
            parse_as(Compat::V3_1_6, &read_12),
            "lba=18446744073541121525 txlen=18446744071562067968 protect=0"
        );
        let service_action = [0x9e, 0x12, 1, 2, 3, 4, 0xf5, 0xf5, 0xf5, 0xf5, 0xf5, 0, 0, 0];
        assert_eq!(
            parse_as(Compat::V3_1_6, &service_action),
            "GET_LBA_STATUS lba=18446744073541121525 alloc_len=4110417920"
        );
        let unmap = [0x42, 0, 0, 0, 0, 0, 0, 0, 4, 0];
        assert_eq!(parse(&unmap), "regions=0");
        assert_eq!(parse_as(Compat::V3_1_6, &unmap), "regions=268435455");
    }

    #[test]
    fn commands_are_decoded_as_far_as_they_are_there() {
        assert_eq!(parse(&[8, 0, 0x12, 0x34, 5, 0]), "lba=4660 txlen=5");
        assert_eq!(
            parse(&[0x2a, 0x80, 0, 0x11, 0x22, 0x33, 0, 0, 0x44, 0]),
            "lba=1122867 txlen=68 protect=4"
        );
        assert_eq!(parse(&[0x28]), "lba=0 txlen=0 protect=0");
        assert_eq!(parse(&[0x9e, 0x11]), "UNKNOWN");
        assert_eq!(parse(&[0x12, 0, 0, 0, 0x24, 0]), "-");
        assert_eq!(parse(&[]), "-");
    }
}
