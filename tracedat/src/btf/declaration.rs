//! How functions are declared, in C.

use super::layout::{Kind, TypeHead};
use super::{Btf, MAX_ALIASES};

/// Bytes that a declaration may grow to; in a kernel they have some hundred.
const MAX_LEN: usize = 4096;

impl Btf {
    /// The declaration of a function in C, without a semicolon: `int vfs_mkdir(struct inode *dir, umode_t mode)`.
    /// `None` when the function is not known. What is damaged is `?`.
    pub fn prototype(&self, function: &str) -> Option<String> {
        let prototype = self.prototype_of(function)?;
        let head = self.head_at(prototype)?;
        let mut text = String::new();
        self.declare(head.size_or_type, &format!("{function}("), 0, &mut text);
        if head.count == 0 {
            text.push_str("void");
        }
        self.parameters_at(prototype, head, 0, &mut text);
        text.push(')');
        Some(text)
    }

    /// Appends the parameters of a prototype.
    fn parameters_at(&self, place: u32, head: TypeHead, depth: usize, out: &mut String) {
        for index in 0..usize::from(head.count) {
            if out.len() > MAX_LEN {
                out.push_str(", ?");
                return;
            }
            let at = place as usize + TypeHead::LEN + index * 8;
            let (Some(name), Some(ty)) = (self.u32_at(at), self.u32_at(at + 4)) else { return };
            if index > 0 {
                out.push_str(", ");
            }
            match ty {
                0 => out.push_str("..."),
                ty => self.declare(ty, &String::from_utf8_lossy(self.string(name)), depth, out),
            }
        }
    }

    /// Appends the declaration of something of a type: `name` with what stands before and behind it.
    fn declare(&self, mut ty: u32, name: &str, depth: usize, out: &mut String) {
        // Written from the name outwards, as C is.
        let (mut before, mut behind) = (name.to_owned(), String::new());
        for _ in depth..MAX_ALIASES {
            if ty == 0 {
                break;
            }
            let Some((place, head)) =
                self.place_of(ty).and_then(|at| Some((at, self.head_at(at)?)))
            else {
                break;
            };
            let at = place as usize + TypeHead::LEN;
            match head.kind {
                Kind::PTR => {
                    before.insert(0, '*');
                    ty = head.size_or_type;
                    if self.is_array_or_function(ty) {
                        before.insert(0, '(');
                        behind.push(')');
                    }
                }
                Kind::CONST | Kind::VOLATILE | Kind::RESTRICT => {
                    let qualifier = match head.kind {
                        Kind::CONST => "const",
                        Kind::VOLATILE => "volatile",
                        _ => "restrict",
                    };
                    ty = head.size_or_type;
                    // That of a pointer stands behind its star.
                    if self.kind_at(ty) == Some(Kind::PTR) {
                        before = joined(qualifier, &before);
                    } else {
                        out.push_str(qualifier);
                        out.push(' ');
                    }
                }
                Kind::TYPE_TAG => ty = head.size_or_type,
                Kind::ARRAY => {
                    let count = self.u32_at(at + 8).unwrap_or(0);
                    behind.push_str(&format!("[{count}]"));
                    ty = self.u32_at(at).unwrap_or(0);
                }
                Kind::FUNC_PROTO => {
                    behind.push('(');
                    self.parameters_at(place, head, depth + 1, &mut behind);
                    behind.push(')');
                    ty = head.size_or_type;
                }
                kind => {
                    let name = String::from_utf8_lossy(self.string(head.name));
                    let name = if name.is_empty() { "{...}" } else { &name };
                    out.push_str(&joined(&joined(keyword(kind, head), name), &before));
                    out.push_str(&behind);
                    return;
                }
            }
            if before.len() + behind.len() + out.len() > MAX_LEN {
                break;
            }
        }
        let name = if ty == 0 { "void" } else { "?" };
        out.push_str(&joined(name, &before));
        out.push_str(&behind);
    }

    fn is_array_or_function(&self, mut ty: u32) -> bool {
        for _ in 0..MAX_ALIASES {
            let Some(head) = self.place_of(ty).and_then(|at| self.head_at(at)) else {
                return false;
            };
            match head.kind {
                Kind::TYPE_TAG => ty = head.size_or_type,
                kind => return kind == Kind::ARRAY || kind == Kind::FUNC_PROTO,
            }
        }
        false
    }

    fn kind_at(&self, ty: u32) -> Option<Kind> {
        Some(self.head_at(self.place_of(ty)?)?.kind)
    }
}

/// What stands before the name of a type.
fn keyword(kind: Kind, head: TypeHead) -> &'static str {
    match kind {
        Kind::STRUCT => "struct",
        Kind::UNION => "union",
        Kind::ENUM | Kind::ENUM64 => "enum",
        Kind::FWD if head.is_flagged => "union",
        Kind::FWD => "struct",
        _ => "",
    }
}

fn joined(first: &str, second: &str) -> String {
    let blank = if first.is_empty() || second.is_empty() { "" } else { " " };
    format!("{first}{blank}{second}")
}
