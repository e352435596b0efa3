//! The format string: literal text and conversions.
use super::limit::MAX_WIDTH;
use super::number::{Base, Layout};

/// A part of a format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text to print as it is.
    Literal(Vec<u8>),
    /// A conversion that takes an argument, and one more before it for each star.
    Conversion(Conversion),
}

/// `%-*.3lx` and the like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conversion {
    pub(super) layout: Layout,
    pub(super) star: Star,
    /// `l` or `z`: as wide as the traced machine's `long`.
    pub(super) long: bool,
    pub(super) kind: Kind,
}

/// What an argument for `*` sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Star {
    None,
    Width,
    Precision,
    /// Width, then precision, which print fmts of the reference do not have.
    Both,
}

/// What is printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number {
        base: Base,
        bits: u32,
    },
    /// `%c`, which only binary records understand.
    Char,
    Text,
    Pointer(Pointer),
}

/// The extensions of `%p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pointer {
    /// `%p` and those that are not known.
    Plain,
    /// `%pS`, `%pF` with the offset, `%ps`, `%pf` without.
    Symbol { offset: bool },
    /// `%pB`: not known to older versions.
    Backtrace,
    /// `%px`: not known to older versions.
    Hex,
    /// `%*pbl` and `%*pb`: not known to older versions.
    Bits { list: bool },
    /// `%pM`, `%pm`, with `F` and `R`.
    Mac { separator: Option<u8>, reversed: bool },
    /// `%pI4`, `%pi4`, with `h`, `n`, `b` and `l`.
    Ipv4 { padded: bool, order: Ipv4Order },
    /// `%pI6`, `%pi6`, `%pI6c`.
    Ipv6 { colons: bool, compressed: bool },
    /// `%pIS` with `p` and `c`.
    Socket { plain: bool, port: bool, compressed: bool },
    /// `%pI` without what it should be.
    Nothing,
    /// `%pU` with `b`, `B`, `l`, `L`.
    Uuid { upper: bool, little: bool },
    /// `%ph` with `C`, `D`, `N`.
    Bytes { separator: Option<u8> },
}

/// In which order the bytes of an IPv4 address are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ipv4Order {
    /// As on the wire.
    Network,
    /// As the traced machine has its integers.
    Host,
    /// The last one first.
    Little,
}

/// A length modifier that no integer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadLength;

/// Splits a format string. With `complete`, `%c` and flags beyond those of print fmts are understood,
/// as they are for binary `trace_printk` records.
pub(super) fn split(text: &[u8], complete: bool) -> Result<Vec<Piece>, BadLength> {
    let mut pieces = Vec::new();
    let mut literal = Vec::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'\\' => {
                let Some((&escaped, after)) = rest.split_first() else { break };
                rest = after;
                literal.push(match escaped {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    other => other,
                });
            }
            b'%' if rest.first() == Some(&b'%') => {
                literal.push(b'%');
                rest = &rest[1..];
            }
            b'%' => match conversion(&mut rest, complete)? {
                Directive::Conversion(conversion) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Conversion(conversion));
                }
                Directive::Unknown(byte) => literal.extend_from_slice(&[b'>', byte, b'<']),
                Directive::Unfinished => break,
            },
            _ => literal.push(byte),
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

enum Directive {
    Conversion(Conversion),
    Unknown(u8),
    Unfinished,
}

/// What follows a `%`.
fn conversion(rest: &mut &[u8], complete: bool) -> Result<Directive, BadLength> {
    let mut layout = Layout::default();
    let mut star = Star::None;
    let mut length = 0i32;
    let (mut digits, mut point) = (false, false);
    loop {
        let Some((&byte, after)) = rest.split_first() else { return Ok(Directive::Unfinished) };
        *rest = after;
        match byte {
            b'-' => layout.left = true,
            b'#' => layout.alternate = true,
            b'0' if !digits && !point => layout.zero = true,
            b'0'..=b'9' => {
                digits = true;
                let number =
                    if point { layout.precision.get_or_insert(0) } else { &mut layout.width };
                // Wide enough for every line, too small to exhaust memory.
                *number = (*number * 10 + u32::from(byte - b'0')).min(MAX_WIDTH);
            }
            b'.' => {
                point = true;
                layout.precision = Some(0);
            }
            b'*' => {
                star = match (star, point) {
                    (Star::None, false) => Star::Width,
                    (Star::None, true) => Star::Precision,
                    (Star::Width, true) if complete => Star::Both,
                    _ => return Err(BadLength),
                };
            }
            b'h' => length -= 1,
            b'l' => length += 1,
            b'L' => length = 2,
            b'z' | b'Z' => length = 1,
            b'j' | b't' if complete => length = 1,
            b'+' if complete => layout.plus = true,
            b' ' if complete => {}
            b'c' if complete => {
                return Ok(Directive::Conversion(Conversion {
                    layout,
                    star,
                    long: false,
                    kind: Kind::Char,
                }));
            }
            b'd' | b'i' | b'u' | b'x' | b'X' | b'o' => {
                let base = match byte {
                    b'd' | b'i' => Base::Signed,
                    b'u' => Base::Unsigned,
                    b'x' => Base::Hex,
                    b'X' => Base::UpperHex,
                    _ => Base::Octal,
                };
                // A `long` is 64 bits wide here whatever the traced machine: the values of 32-bit
                // machines are not longer.
                let bits = match length {
                    -2 => 8,
                    -1 => 16,
                    0 => 32,
                    1 | 2 => 64,
                    _ => return Err(BadLength),
                };
                let kind = Kind::Number { base, bits };
                return Ok(Directive::Conversion(Conversion {
                    layout,
                    star,
                    long: length == 1,
                    kind,
                }));
            }
            b's' => {
                return Ok(Directive::Conversion(Conversion {
                    layout,
                    star,
                    long: false,
                    kind: Kind::Text,
                }));
            }
            b'p' => {
                let kind = Kind::Pointer(pointer(rest, complete));
                return Ok(Directive::Conversion(Conversion {
                    layout,
                    star,
                    long: length == 1,
                    kind,
                }));
            }
            other => return Ok(Directive::Unknown(other)),
        }
    }
}

/// What follows `%p`.
fn pointer(rest: &mut &[u8], complete: bool) -> Pointer {
    let mut take = |wanted: &[u8]| match rest.split_first() {
        Some((byte, after)) if wanted.contains(byte) => {
            *rest = after;
            Some(*byte)
        }
        _ => None,
    };
    match take(b"SFsfBxMmIiUhb") {
        Some(b'S' | b'F') => Pointer::Symbol { offset: true },
        Some(b's' | b'f') => Pointer::Symbol { offset: false },
        Some(b'B') => Pointer::Backtrace,
        Some(b'x') => Pointer::Hex,
        Some(b'b') => Pointer::Bits { list: take(b"l").is_some() },
        Some(letter @ (b'M' | b'm')) => {
            let mut separator = if letter == b'M' { Some(b':') } else { None };
            let mut reversed = false;
            if letter == b'M' && take(b"F").is_some() {
                separator = Some(b'-');
            } else if take(b"R").is_some() {
                reversed = true;
            }
            Pointer::Mac { separator, reversed }
        }
        Some(letter @ (b'I' | b'i')) => {
            let plain = letter == b'i';
            match take(b"46S") {
                Some(b'4') => {
                    let order = match take(b"hnbl") {
                        Some(b'h') => Ipv4Order::Host,
                        Some(b'l') => Ipv4Order::Little,
                        _ => Ipv4Order::Network,
                    };
                    Pointer::Ipv4 { padded: plain, order }
                }
                Some(b'6') => {
                    let compressed = !plain && take(b"c").is_some();
                    Pointer::Ipv6 { colons: !plain, compressed }
                }
                Some(_) => {
                    // The kernel takes them in any order. The reference wants `p` first, then `c`;
                    // what stands there instead makes it skip the rest up to a `c`.
                    let mut port = take(b"p").is_some();
                    let mut compressed = take(b"c").is_some();
                    while complete || !compressed {
                        match take(b"pfsc") {
                            Some(b'c') if !complete => break,
                            Some(b'c') => compressed = true,
                            Some(b'p') => port |= complete,
                            Some(_) => {}
                            None => break,
                        }
                    }
                    Pointer::Socket {
                        plain,
                        port: port && !plain,
                        compressed: compressed && !plain,
                    }
                }
                None => Pointer::Nothing,
            }
        }
        Some(b'U') => {
            let order = take(b"bBlL").unwrap_or(b'b');
            Pointer::Uuid {
                upper: order.is_ascii_uppercase(),
                little: matches!(order, b'l' | b'L'),
            }
        }
        Some(b'h') => Pointer::Bytes {
            separator: match take(b"CDN") {
                Some(b'C') => Some(b':'),
                Some(b'D') => Some(b'-'),
                Some(_) => None,
                None => Some(b' '),
            },
        },
        _ => Pointer::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::{BadLength, Conversion, Kind, Piece, Pointer, Star, split};
    use crate::print_fmt::number::{Base, Layout};

    #[test]
    fn literals_between_conversions_are_one_piece() {
        let pieces = split(br#"a\tb%% % d%-08.3lx\n"#, false).unwrap();
        let layout =
            Layout { left: true, zero: true, width: 8, precision: Some(3), ..Layout::default() };
        let kind = Kind::Number { base: Base::Hex, bits: 64 };
        assert_eq!(
            pieces,
            [
                Piece::Literal(b"a\tb% > <d".to_vec()),
                Piece::Conversion(Conversion { layout, star: Star::None, long: true, kind }),
                Piece::Literal(b"\n".to_vec()),
            ]
        );
    }

    #[test]
    fn lengths_and_stars_that_nobody_writes_are_refused() {
        assert_eq!(split(b"%hhhd", false), Err(BadLength));
        assert_eq!(split(b"%llld", false), Err(BadLength));
        assert_eq!(split(b"%*.*d", false), Err(BadLength));
    }

    #[test]
    fn options_of_a_pointer_end_where_the_reference_ends_them() {
        let kinds = |text: &[u8]| match split(text, false).unwrap().as_slice() {
            [Piece::Conversion(Conversion { kind: Kind::Pointer(pointer), .. }), rest @ ..] => {
                (*pointer, rest.len())
            }
            other => panic!("{other:?}"),
        };
        let socket = |port, compressed| Pointer::Socket { plain: false, port, compressed };
        assert_eq!(kinds(b"%pISpc"), (socket(true, true), 0));
        assert_eq!(kinds(b"%pIScp"), (socket(false, true), 1));
        assert_eq!(kinds(b"%pISf"), (socket(false, false), 0));
        assert_eq!(kinds(b"%pISpsfcf"), (socket(true, false), 1));
        let complete = split(b"%pISfscp", true).unwrap();
        let kind = Kind::Pointer(socket(true, true));
        assert!(matches!(complete.as_slice(), [Piece::Conversion(all)] if all.kind == kind));
        assert_eq!(kinds(b"%pOF"), (Pointer::Plain, 1));
    }
}
