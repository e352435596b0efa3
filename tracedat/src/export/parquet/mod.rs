//! Tables as Apache Parquet: groups of rows, in them a compressed page for each column, and what they are at the end.
//!
//! Every column may be without a value, so that files of several kernels read as one table. Integers have their least
//! and greatest value for each group, by which readers leave groups out.

mod column;
mod thrift;

use super::{Cell, Column, ColumnType};
use crate::compress::{Codec, CompressError, Compressor};
use column::Cells;
use thrift::{Struct, structure};

/// Starts and ends a file.
const MAGIC: &[u8] = b"PAR1";
/// A group of rows is whole when it has so many.
const ROWS: u32 = 1 << 17;
/// Or so many bytes, at which is looked every so many rows: a page has less than 2 GiB.
const BYTES: usize = 64 << 20;
const LOOK_EVERY: u32 = 1 << 10;

/// Physical types.
const BOOLEAN: i32 = 0;
const INT64: i32 = 2;
const BYTE_ARRAY: i32 = 6;
/// Converted types, for old readers.
const UTF8: i32 = 0;
const UINT_64: i32 = 14;
/// Encodings.
const PLAIN: i32 = 0;
const RLE: i32 = 3;
/// Compressions.
const UNCOMPRESSED: i32 = 0;
const ZSTD: i32 = 6;
/// What may be without a value.
const OPTIONAL: i32 = 1;

/// One file: rows in, bytes out.
///
/// ```
/// use tracedat::export::{Cell, Column, ColumnType, Parquet};
///
/// let column = Column { name: "pid".to_owned(), column_type: ColumnType::Integer };
/// let mut file = Parquet::new(&[column])?;
/// let mut bytes = Vec::new();
/// for pid in 1..=3 {
///     file.cell(0, Cell::Integer(pid));
///     file.end_row();
/// }
/// file.finish(&mut bytes)?;
/// assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
/// # Ok::<(), tracedat::compress::CompressError>(())
/// ```
pub struct Parquet {
    columns: Vec<Column>,
    cells: Vec<Cells>,
    compressor: Compressor,
    codec: i32,
    /// Rows that are not in a group yet.
    rows: u32,
    groups: Vec<Group>,
    /// Bytes of the file so far.
    written: u64,
    /// A page before it is compressed, and after.
    page: Vec<u8>,
    compressed: Vec<u8>,
}

/// Rows of the file, one page for each column.
struct Group {
    rows: i64,
    chunks: Vec<Chunk>,
}

/// Where the page of a column is, and what is in it.
struct Chunk {
    column: usize,
    offset: i64,
    plain_len: i64,
    len: i64,
    nulls: i64,
    range: Option<(i64, i64)>,
}

impl Parquet {
    /// A file with these columns.
    ///
    /// # Errors
    ///
    /// The compression cannot be set up.
    pub fn new(columns: &[Column]) -> Result<Self, CompressError> {
        let (codec, number) = if Codec::Zstd.is_available() {
            (Codec::Zstd, ZSTD)
        } else {
            (Codec::None, UNCOMPRESSED)
        };
        Ok(Self {
            columns: columns.to_vec(),
            cells: columns.iter().map(|column| Cells::new(column.column_type)).collect(),
            compressor: codec.compressor()?,
            codec: number,
            rows: 0,
            groups: Vec::new(),
            written: 0,
            page: Vec::new(),
            compressed: Vec::new(),
        })
    }

    /// Adds the cell of a column to the row; every column has one.
    #[inline]
    pub fn cell(&mut self, column: usize, cell: Cell<'_>) {
        if let Some(cells) = self.cells.get_mut(column) {
            cells.push(cell);
        }
    }

    /// Ends the row; true when there are enough for a group, which [`Parquet::flush`] writes.
    pub fn end_row(&mut self) -> bool {
        self.rows += 1;
        self.rows >= ROWS || self.rows.is_multiple_of(LOOK_EVERY) && self.buffered() >= BYTES
    }

    /// Bytes of memory that rows take which are in no group yet.
    pub fn buffered(&self) -> usize {
        self.cells.iter().map(Cells::len).sum()
    }

    /// Makes a group of the rows so far and appends its bytes, which come next in the file, to `out`.
    ///
    /// # Errors
    ///
    /// They cannot be compressed.
    pub fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), CompressError> {
        let start = out.len();
        if self.written == 0 {
            out.extend_from_slice(MAGIC);
        }
        if self.rows > 0 {
            let mut chunks = Vec::with_capacity(self.cells.len());
            for (column, cells) in self.cells.iter_mut().enumerate() {
                self.page.clear();
                self.compressed.clear();
                cells.page(&mut self.page);
                self.compressor.compress_into(&self.page, &mut self.compressed)?;
                let offset = self.written + (out.len() - start) as u64;
                let header = out.len();
                page_header(self.page.len(), self.compressed.len(), self.rows, out);
                let header = out.len() - header;
                out.extend_from_slice(&self.compressed);
                chunks.push(Chunk {
                    column,
                    offset: offset.cast_signed(),
                    plain_len: (header + self.page.len()) as i64,
                    len: (header + self.compressed.len()) as i64,
                    nulls: cells.nulls,
                    range: cells.range,
                });
                cells.clear();
            }
            self.groups.push(Group { rows: i64::from(self.rows), chunks });
            self.rows = 0;
        }
        self.written += (out.len() - start) as u64;
        Ok(())
    }

    /// Appends the rest of the file to `out`.
    ///
    /// # Errors
    ///
    /// It cannot be compressed.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), CompressError> {
        self.flush(out)?;
        let start = out.len();
        structure(out, |file| self.footer(file));
        let len = (out.len() - start) as u32;
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(MAGIC);
        Ok(())
    }

    fn footer(&self, file: &mut Struct<'_>) {
        const VERSION: i32 = 1;
        file.i32(1, VERSION);
        let elements: Vec<Option<&Column>> =
            [None].into_iter().chain(self.columns.iter().map(Some)).collect();
        file.structures(2, &elements, |column, element| match column {
            Some(column) => schema(column, element),
            None => {
                element.binary(4, b"schema");
                element.i32(5, self.columns.len() as i32);
            }
        });
        file.i64(3, self.groups.iter().map(|group| group.rows).sum());
        file.structures(4, &self.groups, |group, fields| {
            fields.structures(1, &group.chunks, |chunk, fields| self.chunk(group, chunk, fields));
            fields.i64(2, group.chunks.iter().map(|chunk| chunk.plain_len).sum());
            fields.i64(3, group.rows);
        });
        file.binary(6, concat!("trace-cmd version ", env!("CARGO_PKG_VERSION")).as_bytes());
        // The order of each column's values is that of its type.
        file.structures(7, &self.columns, |_, order| order.structure(1, |_| {}));
    }

    fn chunk(&self, group: &Group, chunk: &Chunk, fields: &mut Struct<'_>) {
        let Some(column) = self.columns.get(chunk.column) else { return };
        fields.i64(2, chunk.offset);
        fields.structure(3, |data| {
            data.i32(1, physical(column.column_type));
            data.numbers(2, &[PLAIN, RLE]);
            data.text(3, &column.name);
            data.i32(4, self.codec);
            data.i64(5, group.rows);
            data.i64(6, chunk.plain_len);
            data.i64(7, chunk.len);
            data.i64(9, chunk.offset);
            data.structure(12, |statistics| {
                statistics.i64(3, chunk.nulls);
                if let Some((low, high)) = chunk.range {
                    statistics.binary(5, &high.to_le_bytes());
                    statistics.binary(6, &low.to_le_bytes());
                }
            });
        });
    }
}

impl std::fmt::Debug for Parquet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parquet").field("columns", &self.columns).finish_non_exhaustive()
    }
}

fn page_header(plain: usize, compressed: usize, rows: u32, out: &mut Vec<u8>) {
    const DATA_PAGE: i32 = 0;
    structure(out, |header| {
        header.i32(1, DATA_PAGE);
        header.i32(2, plain as i32);
        header.i32(3, compressed as i32);
        header.structure(5, |page| {
            page.i32(1, rows.cast_signed());
            page.i32(2, PLAIN);
            page.i32(3, RLE);
            page.i32(4, RLE);
        });
    });
}

fn physical(column_type: ColumnType) -> i32 {
    match column_type {
        ColumnType::Integer | ColumnType::Unsigned => INT64,
        ColumnType::Bool => BOOLEAN,
        ColumnType::Text => BYTE_ARRAY,
    }
}

fn schema(column: &Column, element: &mut Struct<'_>) {
    const STRING: i16 = 1;
    const INTEGER: i16 = 10;
    element.i32(1, physical(column.column_type));
    element.i32(3, OPTIONAL);
    element.binary(4, column.name.as_bytes());
    match column.column_type {
        ColumnType::Unsigned => {
            element.i32(6, UINT_64);
            element.structure(10, |logical| {
                logical.structure(INTEGER, |integer| {
                    integer.i8(1, 64);
                    integer.bool(2, false);
                });
            });
        }
        ColumnType::Text => {
            element.i32(6, UTF8);
            element.structure(10, |logical| logical.structure(STRING, |_| {}));
        }
        ColumnType::Integer | ColumnType::Bool => {}
    }
}
