//! A drive in memory that reads commands by itself, as their specifications have them, and fails on purpose. It shares no code with
//! what encodes them.

use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use images::disk::{AlignedBuf, ReadDisk, RestoreTarget};
use images::restore::mem::MemDisk;

use super::ioctl::{NvmeAdmin, ScsiAnswer};
use super::port::Port;
use crate::testing::noise;

/// What a drive can, and what shall go wrong.
#[derive(Debug, Clone, Default)]
pub struct Kind {
    /// `nvme`, `ata`, or anything else for a disk that takes no command.
    pub transport: &'static str,
    /// SANICAP: 1 crypto, 2 block, 4 overwrite. ATA's bits of word 59 are made of it.
    pub sanitizes: u8,
    /// OACS: 2 formats.
    pub formats: bool,
    /// FNA.
    pub format_attributes: u8,
    /// Namespaces that it has beside this one.
    pub others: u32,
    /// It takes discards.
    pub discards: bool,
    /// Questions until a sanitize is done.
    pub polls: u32,
    /// ATA: its sanitize commands are frozen.
    pub frozen: bool,
    /// It says that it is done, and has done nothing.
    pub lies: bool,
    /// What it was told ends in a failure.
    pub fails: bool,
    /// It forgets what it was told, at once.
    pub forgets: bool,
    /// It does not say how far it is once it was told something.
    pub silent: bool,
    /// Its status names another way than the one it was told.
    pub confuses: bool,
    /// What is written to it in large pieces comes to be something else.
    pub garbles: bool,
    /// It cannot be read after it was erased.
    pub unreadable: bool,
}

#[derive(Debug, Default)]
struct State {
    /// Of the sanitize status log: SSTAT's lowest bits, SANACT, and whether nothing was written since.
    status: u8,
    action: u8,
    untouched: bool,
    polls_left: u32,
    told: bool,
    erased: bool,
    log: Vec<String>,
}

/// A drive.
pub struct TestDrive {
    disk: MemDisk,
    kind: Kind,
    state: Mutex<State>,
}

const GIVES_UP: &str = "status 0x1";

impl TestDrive {
    pub fn new(disk: MemDisk, kind: Kind) -> Self {
        Self { disk, kind, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What was done, in order: `write`, `zero`, and each command that erases.
    pub fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = AlignedBuf::new(self.disk.size() as usize);
        self.disk.read_at(0, &mut bytes).unwrap();
        bytes.to_vec()
    }

    /// The same drive, which from now on forgets what it is told.
    pub fn forgetting(self) -> Self {
        Self { kind: Kind { forgets: true, ..self.kind }, ..self }
    }

    /// A sanitize goes on with nobody looking, to its end.
    pub fn let_finish(&self) {
        while self.state().status == 2 {
            self.step();
        }
    }

    fn busy(&self) -> io::Result<()> {
        match self.state().status {
            2 => Err(io::Error::other("sanitize in progress")),
            _ => Ok(()),
        }
    }

    fn wipe(&self, scrambled: bool) {
        self.state().erased = true;
        if self.kind.lies {
            return;
        }
        let size = self.disk.size();
        match scrambled {
            false => self.disk.zero(0..size).unwrap(),
            true => {
                let mut bytes = AlignedBuf::new(size as usize);
                bytes.copy_from_slice(&noise(0x5eed, size as usize));
                self.disk.write_at(0, &bytes).unwrap();
            }
        }
    }

    /// What an action does: 2 erases blocks, 3 overwrites, 4 changes the key.
    fn begin(&self, action: u8) {
        let mut state = self.state();
        state.log.push(format!("sanitize {action}"));
        state.told = true;
        if !self.kind.forgets {
            (state.status, state.action, state.untouched) = (2, action, false);
            state.polls_left = self.kind.polls;
        }
    }

    fn step(&self) {
        let mut state = self.state();
        if state.status != 2 {
            return;
        }
        if state.polls_left > 0 {
            state.polls_left -= 1;
            return;
        }
        (state.status, state.untouched) = if self.kind.fails { (3, false) } else { (1, true) };
        let scrambled = state.action == 4;
        drop(state);
        if !self.kind.fails {
            self.wipe(scrambled);
        }
    }

    fn progress(&self) -> u16 {
        let left = self.state().polls_left;
        (0x1_0000 - 0x1_0000 * left / (self.kind.polls + 1)).min(0xffff) as u16
    }

    fn identify(&self, about: u32, answer: &mut [u8]) -> io::Result<()> {
        answer.fill(0);
        match about {
            0x00 => answer[26] = 0x13,
            0x01 => {
                answer[256] = 8 + 2 * u8::from(self.kind.formats);
                answer[328] = self.kind.sanitizes;
                answer[516] = 32;
                answer[524] = self.kind.format_attributes;
            }
            0x02 | 0x10 => {
                for at in 0..=self.kind.others as usize {
                    answer[4 * at] = at as u8 + 1;
                }
            }
            _ => return Err(io::Error::other(GIVES_UP)),
        }
        Ok(())
    }
}

impl Port for TestDrive {
    fn nvme_namespace(&self) -> io::Result<u32> {
        Ok(1)
    }

    fn nvme_admin(&self, command: NvmeAdmin, answer: &mut [u8], _limit: Duration) -> io::Result<()> {
        let refused = || Err(io::Error::other(GIVES_UP));
        if self.kind.transport != "nvme" {
            return refused();
        }
        match command.opcode {
            0x06 => self.identify(command.cdw10, answer),
            0x02 if command.cdw10 == 0x7f_0081 && self.kind.sanitizes != 0 => {
                if self.kind.silent && self.state().told {
                    return refused();
                }
                let progress = self.progress();
                let state = self.state();
                answer.fill(0);
                answer[..2].copy_from_slice(&progress.to_le_bytes());
                (answer[2], answer[3]) = (state.status, u8::from(state.untouched));
                answer[4] = if self.kind.confuses { state.action ^ 1 } else { state.action };
                drop(state);
                self.step();
                Ok(())
            }
            0x84 => {
                let action = (command.cdw10 & 7) as u8;
                let capability = match action {
                    4 => 1,
                    2 => 2,
                    3 => 4,
                    _ => return refused(),
                };
                if self.kind.sanitizes & capability == 0 || command.cdw10 & 8 != 0 {
                    return refused();
                }
                self.begin(action);
                Ok(())
            }
            0x80 => {
                // Namespace 1, and the format that it has: 3, with metadata in the buffer.
                if !self.kind.formats || command.namespace != 1 || command.cdw10 & 0x1f != 0x13 {
                    return refused();
                }
                let secure_erase = command.cdw10 >> 9 & 7;
                self.state().log.push(format!("format {secure_erase}"));
                if self.kind.fails {
                    return refused();
                }
                match secure_erase {
                    1 | 2 => self.wipe(secure_erase == 2),
                    _ => return refused(),
                }
                Ok(())
            }
            _ => refused(),
        }
    }

    fn scsi(&self, command: [u8; 16], answer: &mut [u8], _limit: Duration) -> io::Result<ScsiAnswer> {
        let refused = Err(io::Error::other("check condition"));
        if self.kind.transport != "ata" || command[0] != 0x85 {
            return refused;
        }
        match command[14] {
            0xec => {
                answer.fill(0);
                let able = u16::from(self.kind.sanitizes);
                let word_59 =
                    (able & 1) << 13 | (able & 2) << 14 | (able & 4) << 12 | u16::from(able != 0) << 12;
                answer[118..120].copy_from_slice(&word_59.to_le_bytes());
                Ok(ScsiAnswer { status: 0, sense: Vec::new() })
            }
            0xb4 => {
                let lba = [command[11], command[9], command[7], command[12], command[10], command[8]];
                let mut error = 0;
                match (command[4], &lba) {
                    (0, _) => {}
                    _ if self.kind.frozen => error = 4,
                    (0x11, [0, 0, b'C', b'r', b'y', b'p']) => self.begin(4),
                    (0x12, [0, 0, b'B', b'k', b'E', b'r']) => self.begin(2),
                    (0x14, [b'O', b'W', 0, 0, 0, 0]) if command[6] == 1 => self.begin(3),
                    _ => error = 4,
                }
                let status = self.state().status;
                if status == 3 {
                    error = 4;
                }
                let count = match status {
                    1 => 0x80,
                    2 => 0x40,
                    _ => 0x20 * u8::from(self.kind.frozen),
                };
                let [middle, low] = self.progress().to_be_bytes();
                let is_error = u8::from(error != 0);
                let mut sense = vec![0x72, 1, 0, 0x1d, 0, 0, 0, 14];
                sense.extend([9, 12, 1, error, count, 0, 0, low, 0, middle, 0, 0, 0, 0x50 | is_error]);
                if command[4] == 0 {
                    self.step();
                }
                Ok(ScsiAnswer { status: 2, sense })
            }
            _ => refused,
        }
    }

    fn discards(&self) -> bool {
        self.kind.discards
    }

    fn discard(&self, range: Range<u64>) -> io::Result<()> {
        if !self.kind.discards {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.state().log.push("discard".to_owned());
        if self.kind.lies { Ok(()) } else { self.disk.zero(range) }
    }
}

impl ReadDisk for TestDrive {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.busy()?;
        if self.kind.unreadable && self.state().erased {
            return Err(io::Error::other("medium error"));
        }
        self.disk.read_at(offset, buf)
    }
}

impl RestoreTarget for TestDrive {
    fn sector_size(&self) -> u32 {
        self.disk.sector_size()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.busy()?;
        let mut state = self.state();
        state.untouched = false;
        if state.log.last().is_none_or(|last| last != "write") {
            state.log.push("write".to_owned());
        }
        drop(state);
        if bytes.len() <= 2 << 20 || !(self.kind.lies || self.kind.garbles) {
            return self.disk.write_at(offset, bytes);
        }
        if self.kind.garbles {
            let mut other = AlignedBuf::new(bytes.len());
            other.copy_from_slice(&noise(0xbad, bytes.len()));
            return self.disk.write_at(offset, &other);
        }
        Ok(())
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        self.busy()?;
        let mut state = self.state();
        state.untouched = false;
        state.log.push("zero".to_owned());
        drop(state);
        self.disk.zero(range)
    }

    fn flush(&self) -> io::Result<()> {
        self.disk.flush()
    }

    fn reread_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, buf)
    }
}
