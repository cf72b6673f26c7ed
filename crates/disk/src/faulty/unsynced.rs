use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use document_types::limits::FAULTY_DISK_UNSYNCED_BYTES_MAX;
use rand::Rng;
use rand::rngs::SmallRng;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
const SECTOR_BYTES_U64: u64 = SECTOR_BYTES as u64;

/// One file: what its process sees, held apart from what the real file has.
pub(super) struct Unsynced {
    real: File,
    /// The length that the process sees.
    len: u64,
    /// Bytes of the real file from here on are not seen any more: a cut has not reached it yet.
    real_seen_end: u64,
    /// Sectors that differ from the real file, by their number.
    sectors: BTreeMap<u64, Sector>,
}

struct Sector {
    bytes: Box<[u8; SECTOR_BYTES]>,
    /// Whether a sync would write it. After a failed sync reads show the sector, but nobody
    /// remembers that it has to be written.
    dirty: bool,
}

impl Unsynced {
    pub(super) fn open(real: File) -> io::Result<Self> {
        let len = real.metadata()?.len();
        Ok(Self {
            real,
            len,
            real_seen_end: u64::MAX,
            sectors: BTreeMap::new(),
        })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.saturating_add(buffer.len() as u64);
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_real(offset, buffer)?;
        let numbers = offset / SECTOR_BYTES_U64..end.div_ceil(SECTOR_BYTES_U64);
        for (number, sector) in self.sectors.range(numbers) {
            let start = number * SECTOR_BYTES_U64;
            let (from, to) = (offset.max(start), end.min(start + SECTOR_BYTES_U64));
            buffer[index(from - offset)..index(to - offset)]
                .copy_from_slice(&sector.bytes[index(from - start)..index(to - start)]);
        }
        Ok(())
    }

    pub(super) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        for number in offset / SECTOR_BYTES_U64..end.div_ceil(SECTOR_BYTES_U64) {
            let start = number * SECTOR_BYTES_U64;
            let (from, to) = (offset.max(start), end.min(start + SECTOR_BYTES_U64));
            let is_overwritten = to - from == SECTOR_BYTES_U64;
            let sector = self.sector_mut(number, is_overwritten)?;
            sector.dirty = true;
            sector.bytes[index(from - start)..index(to - start)]
                .copy_from_slice(&bytes[index(from - offset)..index(to - offset)]);
        }
        self.len = self.len.max(end);
        if self.sectors.len() * SECTOR_BYTES > FAULTY_DISK_UNSYNCED_BYTES_MAX {
            self.write_all_back()?;
        }
        Ok(())
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.real_seen_end = self.real_seen_end.min(len);
            self.sectors.split_off(&len.div_ceil(SECTOR_BYTES_U64));
            if let Some(last) = self.sectors.get_mut(&(len / SECTOR_BYTES_U64)) {
                last.bytes[index(len % SECTOR_BYTES_U64)..].fill(0);
            }
        }
        self.len = len;
    }

    /// Lets the real file have everything.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.write_all_back()?;
        self.real.set_len(self.len)
    }

    /// Lets the real file have every sector that is still known to be unsynced.
    pub(super) fn write_all_back(&mut self) -> io::Result<()> {
        self.write_back(|_| true)?;
        self.sectors.retain(|_, sector| !sector.dirty);
        Ok(())
    }

    /// Lets the real file have some of the unsynced sectors: the first few, or any.
    pub(super) fn tear(&mut self, random: &mut SmallRng) -> io::Result<()> {
        let dirty_count = self.sectors.values().filter(|sector| sector.dirty).count();
        if random.random_bool(0.5) {
            let prefix_count = random.random_range(0..=dirty_count);
            self.write_back(|nth| nth < prefix_count)
        } else {
            self.write_back(|_| random.random_bool(0.5))
        }
    }

    /// Forgets what is unsynced, while reads go on to show it.
    pub(super) fn forget(&mut self) {
        for sector in self.sectors.values_mut() {
            sector.dirty = false;
        }
    }

    /// Writes those unsynced sectors to the real file of which `chosen` wants the nth. A cut goes
    /// before them, since file systems order their own metadata.
    fn write_back(&mut self, mut chosen: impl FnMut(usize) -> bool) -> io::Result<()> {
        if self.real_seen_end < self.real.metadata()?.len() {
            self.real.set_len(self.real_seen_end)?;
        }
        self.real_seen_end = u64::MAX;
        let dirty = self.sectors.iter().filter(|(_, sector)| sector.dirty);
        let chosen = dirty
            .enumerate()
            .filter(|(nth, _)| chosen(*nth))
            .map(|(_, sector)| sector);
        // Neighbours go together, for speed.
        let (mut run, mut run_start) = (Vec::new(), 0);
        for (number, sector) in chosen {
            let start = number * SECTOR_BYTES_U64;
            if start != run_start + run.len() as u64 {
                self.real.write_all_at(&run, run_start)?;
                run.clear();
                run_start = start;
            }
            let end = self.len.min(start + SECTOR_BYTES_U64);
            run.extend_from_slice(&sector.bytes[..index(end - start)]);
        }
        self.real.write_all_at(&run, run_start)
    }

    /// The sector to write to, with what it holds unless all of that `is_overwritten`.
    fn sector_mut(&mut self, number: u64, is_overwritten: bool) -> io::Result<&mut Sector> {
        if !self.sectors.contains_key(&number) {
            let mut bytes = Box::new([0; SECTOR_BYTES]);
            if !is_overwritten {
                self.read_real(number * SECTOR_BYTES_U64, &mut bytes[..])?;
            }
            self.sectors.insert(
                number,
                Sector {
                    bytes,
                    dirty: false,
                },
            );
        }
        Ok(self
            .sectors
            .get_mut(&number)
            .expect("it is there or was just put there"))
    }

    /// Fills `buffer` from the real file as far as that is seen, and with zeros from there on.
    fn read_real(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let real_len = self.real.metadata()?.len().min(self.real_seen_end);
        let count = real_len.saturating_sub(offset).min(buffer.len() as u64);
        let (there, missing) = buffer.split_at_mut(index(count));
        missing.fill(0);
        self.real.read_exact_at(there, offset)
    }
}

/// A distance within a buffer that is in memory.
fn index(distance: u64) -> usize {
    usize::try_from(distance).expect("a distance within a slice fits a usize")
}
