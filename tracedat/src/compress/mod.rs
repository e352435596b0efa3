//! Compression of sections and of CPU data, as version 7 stores it.
//!
//! ```
//! # #[cfg(feature = "zstd")] {
//! use tracedat::compress::Codec;
//!
//! let mut packed = Vec::new();
//! Codec::Zstd.compressor()?.compress_into(&[7; 4096], &mut packed)?;
//! let mut unpacked = Vec::new();
//! Codec::Zstd.decompressor()?.decompress_into(&packed, 4096, &mut unpacked)?;
//! assert_eq!(unpacked, [7; 4096]);
//! # }
//! # Ok::<(), tracedat::compress::CompressError>(())
//! ```

#[cfg(feature = "zlib")]
mod zlib;
#[cfg(feature = "zstd")]
mod zstd;

use std::fmt;

use thiserror::Error;

/// How the data of a file is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// The zlib format; needs the feature `zlib`.
    Zlib,
    /// zstd frames, one per chunk and some for a long text; needs the feature `zstd`.
    Zstd,
}

impl Codec {
    /// All codecs, also those this build cannot run.
    pub const ALL: [Self; 3] = [Self::None, Self::Zlib, Self::Zstd];

    /// The codec of that name in a file's header; `None` for a name nobody knows.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// The name in a file's header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
        }
    }

    /// The library version for a file's header. For zlib it is that of the format's old library,
    /// as readers refuse a newer major number than their own.
    pub fn version(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Zlib => "1.2.13",
            #[cfg(feature = "zstd")]
            Self::Zstd => zstd::version(),
            #[cfg(not(feature = "zstd"))]
            Self::Zstd => "",
        }
    }

    /// Whether this build can compress and decompress with it.
    pub const fn is_available(self) -> bool {
        match self {
            Self::None => true,
            Self::Zlib => cfg!(feature = "zlib"),
            Self::Zstd => cfg!(feature = "zstd"),
        }
    }

    /// Whether compressed blocks that follow one another decompress as one, to all that is in them.
    pub const fn joins_blocks(self) -> bool {
        matches!(self, Self::None | Self::Zstd)
    }

    /// Returns a compressor that keeps its state for the next call.
    ///
    /// # Errors
    /// [`CompressError::Unavailable`] when the build lacks the codec.
    pub fn compressor(self) -> Result<Compressor, CompressError> {
        Ok(Compressor(match self {
            Self::None => Compress::None,
            #[cfg(feature = "zlib")]
            Self::Zlib => Compress::Zlib(zlib::Compressor::new()),
            #[cfg(feature = "zstd")]
            Self::Zstd => Compress::Zstd(zstd::Compressor::new()?),
            #[allow(unreachable_patterns, reason = "reached only without all features")]
            _ => return Err(CompressError::Unavailable { codec: self }),
        }))
    }

    /// Returns a decompressor that keeps its state for the next call.
    ///
    /// # Errors
    /// [`CompressError::Unavailable`] when the build lacks the codec.
    pub fn decompressor(self) -> Result<Decompressor, CompressError> {
        Ok(Decompressor(match self {
            Self::None => Decompress::None,
            #[cfg(feature = "zlib")]
            Self::Zlib => Decompress::Zlib(zlib::Decompressor::new()),
            #[cfg(feature = "zstd")]
            Self::Zstd => Decompress::Zstd(zstd::Decompressor::new()?),
            #[allow(unreachable_patterns, reason = "reached only without all features")]
            _ => return Err(CompressError::Unavailable { codec: self }),
        }))
    }

    /// Compresses once; see [`Compressor::compress_into`], which is faster for many chunks.
    ///
    /// # Errors
    /// See [`Compressor::compress_into`].
    pub fn compress_into(self, src: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        self.compressor()?.compress_into(src, out)
    }

    /// Decompresses once; see [`Decompressor::decompress_into`], which is faster for many chunks.
    ///
    /// # Errors
    /// See [`Decompressor::decompress_into`].
    pub fn decompress_into(
        self,
        src: &[u8],
        size: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CompressError> {
        self.decompressor()?.decompress_into(src, size, out)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Compresses one chunk after the other.
#[derive(Debug)]
pub struct Compressor(Compress);

impl Compressor {
    /// Appends the compressed form of `src` to `out`.
    ///
    /// # Errors
    /// [`CompressError::Failed`] with the library's reason; `out` is then as it was.
    pub fn compress_into(&mut self, src: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        let start = out.len();
        let result = match &mut self.0 {
            Compress::None => {
                out.extend_from_slice(src);
                Ok(())
            }
            #[cfg(feature = "zlib")]
            Compress::Zlib(zlib) => zlib.compress(src, out),
            #[cfg(feature = "zstd")]
            Compress::Zstd(zstd) => zstd.compress(src, out),
        };
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    /// What decompressors pass over behind a compressed block; its last four bytes may become anything.
    pub(crate) fn slack(&self) -> &'static [u8] {
        match &self.0 {
            Compress::None => &[],
            // What is behind the checksum is not looked at.
            #[cfg(feature = "zlib")]
            Compress::Zlib(_) => &[0xff; 4],
            #[cfg(feature = "zstd")]
            Compress::Zstd(_) => &zstd::SKIPPABLE,
        }
    }

    /// Compresses from now on as well as `effort` says.
    ///
    /// # Errors
    /// [`CompressError::Failed`] with the library's reason.
    #[cfg_attr(
        not(any(feature = "zlib", feature = "zstd")),
        allow(unused_variables, reason = "nothing is left that could take it")
    )]
    pub fn set_effort(&mut self, effort: Effort) -> Result<(), CompressError> {
        match &mut self.0 {
            Compress::None => Ok(()),
            #[cfg(feature = "zlib")]
            Compress::Zlib(zlib) => {
                zlib.set_effort(effort);
                Ok(())
            }
            #[cfg(feature = "zstd")]
            Compress::Zstd(zstd) => zstd.set_effort(effort),
        }
    }
}

/// How well data is compressed, and how long that may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// As other writers of the format do.
    #[default]
    Usual,
    /// About as well, and faster: what suits data that is compressed while it is recorded.
    Quick,
    /// Somewhat less well, as fast as that is worth it.
    Little,
    /// Hardly at all: as fast as copying.
    Least,
}

/// Decompresses one chunk after the other.
#[derive(Debug)]
pub struct Decompressor(Decompress);

/// Room that is made at once: what so many compressed bytes usually become, and at least so much.
const USUAL_RATIO: usize = 32;
const FIRST_ROOM: usize = 64 << 10;

impl Decompressor {
    /// Fills `out`, replacing its content, with the `size` bytes that `src` decompresses to.
    ///
    /// `size` comes from the input, so the caller bounds it; more than the codec could make of
    /// `src` is refused before anything is allocated, and memory grows with what `src` really becomes.
    ///
    /// # Errors
    /// When `src` is not one whole compressed block, or has another size; `out` is then empty.
    pub fn decompress_into(
        &mut self,
        src: &[u8],
        size: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CompressError> {
        out.clear();
        let result = self.decompress(src, size, out);
        if result.is_err() {
            out.clear();
        }
        result
    }

    fn decompress(
        &mut self,
        src: &[u8],
        size: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CompressError> {
        let most = self.0.most_from(src.len());
        if size > most {
            return Err(CompressError::Implausible { compressed: src.len(), size });
        }
        // Room for what usual data becomes; more of the stated size is believed as the data fills it.
        let mut room = size.min(src.len().saturating_mul(USUAL_RATIO).max(FIRST_ROOM));
        loop {
            // Never none at all: a library may want room to see the end of empty data.
            out.try_reserve_exact(room.max(1)).map_err(|_| CompressError::OutOfMemory { size })?;
            let ended = match &mut self.0 {
                Decompress::None => {
                    out.extend_from_slice(src);
                    true
                }
                #[cfg(feature = "zlib")]
                Decompress::Zlib(zlib) => zlib.decompress(src, out)?,
                #[cfg(feature = "zstd")]
                Decompress::Zstd(zstd) => zstd.decompress(src, out)?,
            };
            if ended {
                break;
            }
            if out.capacity() > size || room >= size {
                let found = size.saturating_add(1);
                return Err(CompressError::WrongSize { stated: size, found });
            }
            out.clear();
            room = room.max(out.capacity()).saturating_mul(4).min(size);
        }
        if out.len() == size {
            Ok(())
        } else {
            Err(CompressError::WrongSize { stated: size, found: out.len() })
        }
    }
}

/// Why data could not be compressed or decompressed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompressError {
    /// The codec's feature is not in this build.
    #[error("this build has no {codec}")]
    Unavailable {
        /// The codec asked for.
        codec: Codec,
    },
    /// So few bytes cannot become so many.
    #[error("{compressed} compressed bytes cannot hold the stated {size}")]
    Implausible {
        /// Bytes there are.
        compressed: usize,
        /// Bytes stated.
        size: usize,
    },
    /// The memory for the result is not there.
    #[error("no memory for {size} bytes")]
    OutOfMemory {
        /// Bytes needed.
        size: usize,
    },
    /// The result has another size than stated.
    #[error("decompressed to {found} bytes, {stated} stated")]
    WrongSize {
        /// Bytes stated.
        stated: usize,
        /// Bytes found; of a longer block only those looked at are counted.
        found: usize,
    },
    /// The library refused.
    #[error("{codec}: {reason}")]
    Failed {
        /// The codec.
        codec: Codec,
        /// What its library says.
        reason: String,
    },
}

#[derive(Debug)]
enum Compress {
    None,
    #[cfg(feature = "zlib")]
    Zlib(zlib::Compressor),
    #[cfg(feature = "zstd")]
    Zstd(zstd::Compressor),
}

#[derive(Debug)]
enum Decompress {
    None,
    #[cfg(feature = "zlib")]
    Zlib(zlib::Decompressor),
    #[cfg(feature = "zstd")]
    Zstd(zstd::Decompressor),
}

impl Decompress {
    /// The most bytes that so many compressed ones can become.
    fn most_from(&self, compressed: usize) -> usize {
        match self {
            Self::None => compressed,
            #[cfg(feature = "zlib")]
            Self::Zlib(_) => compressed.saturating_mul(zlib::MAX_RATIO),
            #[cfg(feature = "zstd")]
            Self::Zstd(_) => compressed.saturating_mul(zstd::MAX_RATIO),
        }
    }
}

#[cfg(test)]
#[cfg(all(feature = "zlib", feature = "zstd"))]
mod tests {
    use super::*;

    fn sample(len: u32) -> Vec<u8> {
        (0..len).flat_map(|i| (i / 3).to_le_bytes()).collect()
    }

    #[test]
    fn what_is_compressed_comes_back_and_contexts_can_be_used_again() {
        for codec in Codec::ALL {
            let mut compressor = codec.compressor().unwrap();
            let mut decompressor = codec.decompressor().unwrap();
            let mut unpacked = b"left over".to_vec();
            for len in [0, 1, 1000, 10_240, 300_000] {
                let data = sample(len);
                let mut packed = b"before".to_vec();
                compressor.compress_into(&data, &mut packed).unwrap();
                assert_eq!(&packed[..6], b"before");
                decompressor.decompress_into(&packed[6..], data.len(), &mut unpacked).unwrap();
                assert_eq!(unpacked, data, "{codec} {len}");
            }
        }
    }

    #[test]
    fn less_effort_makes_more_bytes_that_come_back_the_same() {
        let data = sample(40_000);
        for codec in [Codec::Zlib, Codec::Zstd] {
            let mut compressor = codec.compressor().unwrap();
            let mut sizes = Vec::new();
            for effort in [Effort::Usual, Effort::Little, Effort::Least, Effort::Quick] {
                compressor.set_effort(effort).unwrap();
                let (mut packed, mut unpacked) = (Vec::new(), Vec::new());
                compressor.compress_into(&data, &mut packed).unwrap();
                let mut decompressor = codec.decompressor().unwrap();
                decompressor.decompress_into(&packed, data.len(), &mut unpacked).unwrap();
                assert!(unpacked == data, "{codec} {effort:?}");
                sizes.push(packed.len());
            }
            let [usual, little, least, quick] = sizes[..] else { unreachable!() };
            assert!(usual < least && quick < least && little <= least, "{codec}: {sizes:?}");
        }
    }

    #[test]
    fn blocks_of_some_codecs_join() {
        let data = sample(1000);
        for codec in Codec::ALL {
            let mut packed = Vec::new();
            for part in data.chunks(1500) {
                codec.compress_into(part, &mut packed).unwrap();
            }
            let mut out = Vec::new();
            let joined = codec.decompress_into(&packed, data.len(), &mut out);
            assert_eq!(joined.is_ok() && out == data, codec.joins_blocks(), "{codec}");
        }
    }

    #[test]
    fn names_are_those_of_the_header() {
        assert_eq!(Codec::from_name("zstd"), Some(Codec::Zstd));
        assert_eq!(Codec::from_name("zlib"), Some(Codec::Zlib));
        assert_eq!(Codec::from_name("none"), Some(Codec::None));
        assert_eq!(Codec::from_name("lzma"), None);
        assert!(Codec::Zstd.version().starts_with("1."));
    }

    #[test]
    fn a_wrong_size_is_an_error_and_leaves_nothing() {
        for codec in Codec::ALL {
            let data = sample(1000);
            let mut packed = Vec::new();
            codec.compress_into(&data, &mut packed).unwrap();
            for size in [0, 1, data.len() - 1, data.len() + 1] {
                let mut out = vec![1];
                let result = codec.decompress_into(&packed, size, &mut out);
                assert!(result.is_err(), "{codec} {size}: {result:?}");
                assert!(out.is_empty());
            }
        }
    }

    #[test]
    fn a_cut_or_damaged_block_never_passes_for_the_whole() {
        for codec in [Codec::Zlib, Codec::Zstd] {
            let data = sample(1000);
            let mut packed = Vec::new();
            codec.compress_into(&data, &mut packed).unwrap();
            let mut decompressor = codec.decompressor().unwrap();
            let mut out = Vec::new();
            for len in 0..packed.len() {
                let cut = decompressor.decompress_into(&packed[..len], data.len(), &mut out);
                assert!(cut.is_err(), "{codec} cut to {len}");
            }
            decompressor.decompress_into(&packed, data.len(), &mut out).unwrap();
            assert_eq!(out, data, "usable after errors");
        }
    }

    #[test]
    fn an_absurd_size_is_refused_before_memory_is_taken() {
        for codec in [Codec::Zlib, Codec::Zstd] {
            let mut out = Vec::new();
            let error = codec.decompress_into(b"tiny", usize::MAX / 2, &mut out).unwrap_err();
            assert!(matches!(error, CompressError::Implausible { .. }), "{error}");
            assert_eq!(out.capacity(), 0);
        }
    }

    #[test]
    fn memory_grows_with_the_data_and_not_with_the_stated_size() {
        for codec in [Codec::Zlib, Codec::Zstd] {
            let mut packed = Vec::new();
            codec.compress_into(&sample(1000), &mut packed).unwrap();
            let mut out = Vec::new();
            codec.decompress_into(&packed, packed.len() * 1000, &mut out).unwrap_err();
            assert!(out.capacity() <= FIRST_ROOM, "{codec}: {}", out.capacity());
        }
    }

    #[test]
    fn data_that_shrank_much_comes_back() {
        for codec in [Codec::Zlib, Codec::Zstd] {
            for len in [FIRST_ROOM, FIRST_ROOM + 1, 3_000_000] {
                let mut packed = Vec::new();
                codec.compress_into(&vec![7; len], &mut packed).unwrap();
                let mut out = Vec::new();
                codec.decompress_into(&packed, len, &mut out).unwrap();
                assert!(out.len() == len && out.iter().all(|&byte| byte == 7));
                for wrong in [len - 1, len + 1] {
                    codec.decompress_into(&packed, wrong, &mut out).unwrap_err();
                }
            }
        }
    }
}
