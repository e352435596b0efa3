//! A text that is compressed while it comes.

use super::WriteError;
use super::output::count;
use crate::abi::ByteOrder;
use crate::compress::{Codec, Compressor, Effort};

/// Bytes that are compressed at once: enough to find what repeats.
const PIECE_LEN: usize = 256 << 10;

/// Takes a long list of lines piece by piece and compresses it meanwhile, where the codec can.
#[derive(Debug)]
pub struct TextPacker {
    codec: Codec,
    compressor: Compressor,
    /// Bytes taken.
    len: usize,
    /// What is not compressed yet.
    waiting: Vec<u8>,
    packed: Vec<u8>,
}

/// A text with its size before it, as a section has it.
#[derive(Clone, Debug)]
pub struct PackedText {
    /// Bytes before compression, those of the size included.
    pub(super) len: usize,
    pub(super) body: Vec<u8>,
}

impl TextPacker {
    /// Nothing taken yet.
    ///
    /// # Errors
    /// When the codec is not in this build.
    pub fn new(codec: Codec) -> Result<Self, WriteError> {
        let mut compressor = codec.compressor()?;
        compressor.set_effort(Effort::Quick)?;
        Ok(Self { codec, compressor, len: 0, waiting: Vec::new(), packed: Vec::new() })
    }

    /// Takes what comes next.
    ///
    /// # Errors
    /// What the codec says.
    pub fn add(&mut self, piece: &[u8]) -> Result<(), WriteError> {
        self.len += piece.len();
        if self.codec.joins_blocks() && self.waiting.is_empty() && piece.len() >= PIECE_LEN {
            self.compressor.compress_into(piece, &mut self.packed)?;
            return Ok(());
        }
        self.waiting.extend_from_slice(piece);
        if self.codec.joins_blocks() && self.waiting.len() >= PIECE_LEN {
            self.compressor.compress_into(&self.waiting, &mut self.packed)?;
            self.waiting.clear();
        }
        Ok(())
    }

    /// The text, if there is any.
    ///
    /// # Errors
    /// When it is larger than the format can tell, or what the codec says.
    pub fn finish(mut self, order: ByteOrder) -> Result<Option<PackedText>, WriteError> {
        if self.len == 0 {
            return Ok(None);
        }
        let mut begin = order.put_u32(count("text", self.len)?).to_vec();
        let len = begin.len() + self.len;
        let mut body = Vec::new();
        if self.packed.is_empty() {
            begin.append(&mut self.waiting);
        }
        self.compressor.compress_into(&begin, &mut body)?;
        body.append(&mut self.packed);
        if !self.waiting.is_empty() {
            self.compressor.compress_into(&self.waiting, &mut body)?;
        }
        Ok(Some(PackedText { len, body }))
    }
}

#[cfg(test)]
#[cfg(all(feature = "zlib", feature = "zstd"))]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_the_text_with_its_size() {
        let line = |number: u32| format!("ffffffff{number:08x} T function_{number}\n");
        for lines in [1, 1000, 60_000] {
            let text: String = (0..lines).map(line).collect();
            for codec in Codec::ALL {
                let mut packer = TextPacker::new(codec).unwrap();
                text.as_bytes().chunks(4000).for_each(|piece| packer.add(piece).unwrap());
                let packed = packer.finish(ByteOrder::Big).unwrap().unwrap();
                let mut body = Vec::new();
                codec.decompress_into(&packed.body, packed.len, &mut body).unwrap();
                let (size, rest) = body.split_at(4);
                assert_eq!(size, u32::try_from(text.len()).unwrap().to_be_bytes());
                assert!(rest == text.as_bytes(), "{codec} {lines}");
            }
        }
    }

    #[test]
    fn nothing_is_no_text() {
        let packer = TextPacker::new(Codec::Zstd).unwrap();
        assert!(packer.finish(ByteOrder::Little).unwrap().is_none());
    }
}
