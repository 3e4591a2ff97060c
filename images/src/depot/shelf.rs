//! A depot in memory for tests, which can lie in every way that we know of.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;

use super::{Depot, DepotError, Put};

/// How it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Overwrites where it should leave what is there.
    IgnoresConditions,
    /// Says that it had the object already, and keeps nothing.
    SaysThere,
    /// Says that it has kept it, and keeps nothing.
    KeepsNothing,
    /// Keeps all but the last byte.
    Cuts,
    /// Keeps it with one bit flipped.
    Spoils,
    /// Keeps the first put of each name spoiled, and the second right.
    SpoilsOnce,
    /// Gives fewer bytes than asked.
    ReadsShort,
    /// Gives bytes of nobody.
    ReadsNoise,
    /// Gives more bytes than asked.
    ReadsMore,
    /// Lists nothing.
    ListsNothing,
    /// Lists what was removed.
    ListsGhosts,
    /// States another length.
    WrongLengths,
    /// Loses a pack, once, when it has been looked at, as a collection does that runs meanwhile.
    LosesWhatWasSeen,
}

#[derive(Default)]
pub(crate) struct Shelf {
    pub objects: Mutex<BTreeMap<String, Vec<u8>>>,
    ghosts: Mutex<BTreeMap<String, u64>>,
    pub lie: Mutex<Option<Lie>>,
    /// After so many calls it is gone.
    pub calls_left: Mutex<Option<usize>>,
    /// An object that comes when it has been listed once.
    pub late: Mutex<Option<(String, Vec<u8>)>>,
    /// Names that were put.
    pub puts: Mutex<Vec<String>>,
}

impl Shelf {
    pub fn lying(lie: Lie) -> Self {
        let shelf = Self::default();
        *shelf.lie.lock().unwrap() = Some(lie);
        shelf
    }

    fn lies(&self, lie: Lie) -> bool {
        *self.lie.lock().unwrap() == Some(lie)
    }

    fn call(&self) -> Result<(), DepotError> {
        match &mut *self.calls_left.lock().unwrap() {
            Some(0) => Err(DepotError::Gone("no route to it".into())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn keep(&self, name: &str, bytes: &[u8]) {
        let first = !self.puts.lock().unwrap().iter().any(|put| put == name);
        self.puts.lock().unwrap().push(name.to_owned());
        let mut bytes = bytes.to_vec();
        match *self.lie.lock().unwrap() {
            Some(Lie::KeepsNothing | Lie::SaysThere) => return,
            Some(Lie::Cuts) => drop(bytes.pop()),
            Some(Lie::Spoils) => bytes[0] ^= 1,
            Some(Lie::SpoilsOnce) if first => bytes[0] ^= 1,
            _ => {}
        }
        self.objects.lock().unwrap().insert(name.to_owned(), bytes);
    }

    /// Change one byte of the first object whose name contains this.
    pub fn spoil(&self, part: &str, at: usize) {
        let mut objects = self.objects.lock().unwrap();
        let (_, bytes) = objects.iter_mut().find(|(name, _)| name.contains(part)).unwrap();
        bytes[at] ^= 1;
    }

    pub fn names(&self) -> Vec<String> {
        self.objects.lock().unwrap().keys().cloned().collect()
    }

    pub fn take(&self, part: &str) -> (String, Vec<u8>) {
        let mut objects = self.objects.lock().unwrap();
        let name = objects.keys().find(|name| name.contains(part)).unwrap().clone();
        let bytes = objects.remove(&name).unwrap();
        (name, bytes)
    }
}

impl Depot for Shelf {
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<Put, DepotError> {
        self.call()?;
        if self.lies(Lie::SaysThere) {
            return Ok(Put::There);
        }
        let there = self.objects.lock().unwrap().contains_key(name);
        if there && !self.lies(Lie::IgnoresConditions) {
            return Ok(Put::There);
        }
        self.keep(name, bytes);
        Ok(Put::Done)
    }

    fn put_over(&self, name: &str, bytes: &[u8]) -> Result<(), DepotError> {
        self.call()?;
        self.keep(name, bytes);
        Ok(())
    }

    fn len(&self, name: &str) -> Result<Option<u64>, DepotError> {
        self.call()?;
        let len = self.objects.lock().unwrap().get(name).map(|bytes| bytes.len() as u64);
        Ok(if self.lies(Lie::WrongLengths) { len.map(|len| len + 1) } else { len })
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>, DepotError> {
        self.call()?;
        let mut objects = self.objects.lock().unwrap();
        let bytes = objects.get(name).ok_or_else(|| DepotError::Absent { name: name.to_owned() })?.clone();
        if self.lies(Lie::LosesWhatWasSeen) && name.starts_with("packs/") {
            objects.remove(name);
            *self.lie.lock().unwrap() = None;
        }
        let (from, to) = (range.start.min(bytes.len() as u64), range.end.min(bytes.len() as u64));
        let mut read = bytes[from as usize..to as usize].to_vec();
        match *self.lie.lock().unwrap() {
            Some(Lie::ReadsShort) => drop(read.pop()),
            Some(Lie::ReadsMore) => read.push(0),
            Some(Lie::ReadsNoise) => read.iter_mut().for_each(|byte| *byte ^= 0x55),
            _ => {}
        }
        Ok(read)
    }

    fn list(&self) -> Result<Vec<(String, u64)>, DepotError> {
        self.call()?;
        if self.lies(Lie::ListsNothing) {
            return Ok(Vec::new());
        }
        let mut objects = self.objects.lock().unwrap();
        let mut all: BTreeMap<String, u64> =
            objects.iter().map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect();
        if self.lies(Lie::ListsGhosts) {
            all.extend(self.ghosts.lock().unwrap().clone());
        }
        objects.extend(self.late.lock().unwrap().take());
        Ok(all.into_iter().collect())
    }

    fn remove(&self, name: &str) -> Result<(), DepotError> {
        self.call()?;
        if let Some(bytes) = self.objects.lock().unwrap().remove(name) {
            self.ghosts.lock().unwrap().insert(name.to_owned(), bytes.len() as u64);
        }
        Ok(())
    }
}
