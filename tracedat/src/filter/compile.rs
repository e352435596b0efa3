//! A bound condition to a flat program.

use super::ast::Junction;
use super::bind::Bound;
use super::eval::{Op, Program};

/// Compiles a condition. Each step leaves its truth for the next; a chain jumps over what no
/// longer matters.
pub(super) fn compile(bound: &Bound) -> Program {
    let mut ops = Vec::new();
    emit(bound, &mut ops);
    Program { ops: ops.into() }
}

fn emit(bound: &Bound, ops: &mut Vec<Op>) {
    match bound {
        Bound::Constant(value) => ops.push(Op::Constant(*value)),
        Bound::Not(inner) => {
            emit(inner, ops);
            ops.push(Op::Not);
        }
        Bound::Test(test, _) => ops.push(Op::Test(test.clone())),
        Bound::Chain(first, rest) => {
            emit(first, ops);
            for (junction, term) in rest {
                let jump = ops.len();
                let when = *junction == Junction::Or;
                ops.push(Op::JumpIf { when, to: 0 });
                emit(term, ops);
                let end = ops.len();
                if let Some(op) = ops.get_mut(jump) {
                    *op = Op::JumpIf { when, to: end };
                }
            }
        }
    }
}
