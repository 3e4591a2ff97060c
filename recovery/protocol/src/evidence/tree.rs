//! The Merkle tree over a log (RFC 6962 section 2.1, RFC 9162 section 2.1): roots, inclusion and consistency.
//!
//! ```text
//! leaf = SHA-256(0x00 ‖ entry text)    node = SHA-256(0x01 ‖ left ‖ right)          root of 7 leaves
//!                                                                              ┌────────┴────────┐
//! peaks of 7 leaves: [1..4], [5..6], [7]                                    [1..4]             ┌─┴─┐
//! root: the peaks folded from the right                                                     [5..6] [7]
//! ```
//!
//! A *perfect node* is the root of 2^level leaves that end at leaf `seq` (from 1, a multiple of 2^level). Leaf `seq`
//! completes those of level 0 up to the number of trailing zeros of `seq`; whoever keeps them beside the entry, two
//! on average, can give every proof with a logarithm of reads. No clock, no I/O: the caller brings the nodes.

use ring::digest;

/// A SHA-256 hash of a leaf or a node.
pub type Hash = [u8; 32];

fn sha256(parts: [&[u8]; 3]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The hash of an entry's exact text as a leaf.
#[must_use]
pub fn leaf(text: &[u8]) -> Hash {
    sha256([&[0], text, &[]])
}

/// The hash of two neighbours as a node.
#[must_use]
pub fn node(left: &Hash, right: &Hash) -> Hash {
    sha256([&[1], left, right])
}

/// The root of no leaf at all (RFC 6962 section 2.1).
#[must_use]
pub fn empty_root() -> Hash {
    sha256([&[], &[], &[]])
}

/// A tree that grows at its right: its size and its peaks, largest first. Memory grows with the logarithm of the size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    size: u64,
    peaks: Vec<Hash>,
}

impl Tree {
    /// A tree of `size` leaves with these peaks, the largest first; None where their number does not fit the size.
    #[must_use]
    pub fn of(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// Leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Append a leaf; gives the perfect nodes that it completes, the leaf itself first.
    pub fn push(&mut self, leaf: Hash) -> Vec<Hash> {
        let mut completed = vec![leaf];
        let mut top = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                top = node(&left, &top);
                completed.push(top);
            }
        }
        self.peaks.push(top);
        self.size += 1;
        completed
    }

    /// Append a leaf without a list of what it completes.
    pub fn grow(&mut self, leaf: Hash) {
        let mut top = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                top = node(&left, &top);
            }
        }
        self.peaks.push(top);
        self.size += 1;
    }

    /// The root over all leaves so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold(&self.peaks).unwrap_or_else(empty_root)
    }
}

/// Perfect neighbours, largest first, as one root.
fn fold(perfect: &[Hash]) -> Option<Hash> {
    let (last, before) = perfect.split_last()?;
    Some(before.iter().rev().fold(*last, |right, left| node(left, &right)))
}

/// A perfect node: the root of the 2^level leaves that end at leaf `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Perfect {
    /// The last of its leaves, from 1.
    pub seq: u64,
    /// Logarithm of the number of its leaves.
    pub level: u32,
}

/// Leaves `after + 1 ..= to`, which are one subtree of some tree of the log: what a proof has a hash of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    after: u64,
    to: u64,
}

impl Stretch {
    /// The whole tree of `size` leaves.
    #[must_use]
    pub fn whole(size: u64) -> Self {
        Self { after: 0, to: size }
    }

    /// The perfect nodes that it is made of, largest first.
    #[must_use]
    pub fn perfect(self) -> Vec<Perfect> {
        let mut nodes = Vec::new();
        let mut after = self.after;
        while after < self.to {
            let level = (self.to - after).ilog2();
            after += 1 << level;
            nodes.push(Perfect { seq: after, level });
        }
        nodes
    }

    /// Its hash, from those of its perfect nodes.
    #[must_use]
    pub fn hash(self, perfect: &[Hash]) -> Option<Hash> {
        (perfect.len() == self.perfect().len()).then(|| fold(perfect)).flatten()
    }
}

/// The largest power of two below `leaves`, which is more than one.
fn split(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

/// What the inclusion proof of leaf `seq` (from 1) in a tree of `size` leaves holds a hash of, lowest first (RFC 9162
/// section 2.1.3.1). None where the tree has no such leaf.
#[must_use]
pub fn inclusion(seq: u64, size: u64) -> Option<Vec<Stretch>> {
    if seq == 0 || seq > size {
        return None;
    }
    let (mut after, mut to) = (0, size);
    let mut path = Vec::new();
    while to - after > 1 {
        let middle = after + split(to - after);
        if seq <= middle {
            path.push(Stretch { after: middle, to });
            to = middle;
        } else {
            path.push(Stretch { after, to: middle });
            after = middle;
        }
    }
    path.reverse();
    Some(path)
}

/// What the consistency proof between a tree of `old` leaves and one of `new` holds a hash of, lowest first (RFC 9162
/// section 2.1.4.1). None where `old` is more than `new`, or nothing.
#[must_use]
pub fn consistency(old: u64, new: u64) -> Option<Vec<Stretch>> {
    if old == 0 || old > new {
        return None;
    }
    let (mut after, mut to, mut complete) = (0, new, true);
    let mut path = Vec::new();
    while to != old {
        let middle = after + split(to - after);
        if old <= middle {
            path.push(Stretch { after: middle, to });
            to = middle;
        } else {
            path.push(Stretch { after, to: middle });
            (after, complete) = (middle, false);
        }
    }
    if !complete {
        path.push(Stretch { after, to });
    }
    path.reverse();
    Some(path)
}

/// The root that a tree of `size` leaves must have where `leaf` is its leaf `seq` (from 1), by this proof (RFC 9162
/// section 2.1.3.2). None where the proof has not the shape that these numbers want.
#[must_use]
pub fn included(leaf: &Hash, seq: u64, size: u64, proof: &[Hash]) -> Option<Hash> {
    if seq == 0 || seq > size {
        return None;
    }
    let (mut at, mut last) = (seq - 1, size - 1);
    let mut root = *leaf;
    for other in proof {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            root = node(other, &root);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            root = node(&root, other);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(root)
}

/// Whether the tree of `new` leaves continues that of `old`, by this proof (RFC 9162 section 2.1.4.2).
#[must_use]
pub fn continues(old: (u64, &Hash), new: (u64, &Hash), proof: &[Hash]) -> bool {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size == 0 || old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return proof.is_empty() && old_root == new_root;
    }
    let (mut at, mut last) = (old_size - 1, new_size - 1);
    let shift = at.trailing_ones();
    at >>= shift;
    last >>= shift;
    // A tree that is perfect stands in the other as it is, and is not in the proof.
    let (first, rest) = match proof.split_first() {
        _ if old_size.is_power_of_two() => (old_root, proof),
        Some((first, rest)) => (first, rest),
        None => return false,
    };
    let (mut of_old, mut of_new) = (*first, *first);
    for other in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            of_old = node(other, &of_old);
            of_new = node(other, &of_new);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            of_new = node(&of_new, other);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && of_old == *old_root && of_new == *new_root
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6962 section 2.1, word for word.
    fn defined(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            more => {
                let (left, right) = more.split_at(usize::try_from(split(more.len() as u64)).unwrap());
                node(&defined(left), &defined(right))
            }
        }
    }

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|n| leaf(&n.to_le_bytes())).collect()
    }

    /// The hashes of a proof, from the perfect nodes that were kept as the tree grew.
    fn proof(stretches: &[Stretch], kept: &[Vec<Hash>]) -> Vec<Hash> {
        let at = |node: Perfect| kept[node.seq as usize - 1][node.level as usize];
        let hash = |stretch: &Stretch| {
            let nodes: Vec<Hash> = stretch.perfect().into_iter().map(at).collect();
            stretch.hash(&nodes).unwrap()
        };
        stretches.iter().map(hash).collect()
    }

    fn grown(count: u64) -> (Vec<Hash>, Vec<Vec<Hash>>, Vec<Hash>) {
        let (mut tree, mut other) = (Tree::default(), Tree::default());
        let (mut kept, mut roots) = (Vec::new(), Vec::new());
        let leaves = leaves(count);
        for leaf in &leaves {
            kept.push(tree.push(*leaf));
            other.grow(*leaf);
            assert_eq!(tree, other);
            roots.push(tree.root());
        }
        (leaves, kept, roots)
    }

    /// The vectors that Certificate Transparency's implementations share.
    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let texts = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let mut tree = Tree::default();
        assert_eq!(
            hex::encode(tree.root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for (n, text) in texts.iter().enumerate() {
            tree.push(leaf(&hex::decode(text).unwrap()));
            if n == 0 {
                let first = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
                assert_eq!(hex::encode(tree.root()), first);
            }
        }
        let eighth = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328";
        assert_eq!(hex::encode(tree.root()), eighth);
    }

    #[test]
    fn every_leaf_of_every_tree_is_proven_and_nothing_else_is() {
        let (leaves, kept, roots) = grown(70);
        for size in 1..=70_u64 {
            let root = roots[size as usize - 1];
            assert_eq!(root, defined(&leaves[..size as usize]));
            for seq in 1..=size {
                let hashes = proof(&inclusion(seq, size).unwrap(), &kept);
                assert!(hashes.len() <= size.next_power_of_two().ilog2() as usize);
                let leaf = &leaves[seq as usize - 1];
                assert_eq!(included(leaf, seq, size, &hashes), Some(root));
                assert_ne!(included(&roots[0], seq, size, &hashes).filter(|_| seq != 1), Some(root));
                if seq > 1 {
                    assert_ne!(included(leaf, seq - 1, size, &hashes), Some(root));
                }
                let longer = [hashes.as_slice(), &[root]].concat();
                assert_eq!(included(leaf, seq, size, &longer), None);
            }
        }
        assert_eq!(
            (inclusion(0, 7), inclusion(8, 7), consistency(0, 7), consistency(8, 7)),
            Default::default()
        );
    }

    #[test]
    fn every_tree_continues_those_before_it_and_no_other() {
        let (_, kept, roots) = grown(70);
        for new in 1..=70_u64 {
            for old in 1..=new {
                let hashes = proof(&consistency(old, new).unwrap(), &kept);
                let (was, is) = (roots[old as usize - 1], roots[new as usize - 1]);
                assert!(continues((old, &was), (new, &is), &hashes), "{old} {new}");
                let foreign = leaf(b"foreign");
                assert!(!continues((old, &foreign), (new, &is), &hashes), "{old} {new}");
                assert!(!continues((old, &was), (new, &foreign), &hashes), "{old} {new}");
                assert!(!continues((old, &was), (new, &is), &[hashes.as_slice(), &[is]].concat()));
                if let Some((_, less)) = hashes.split_last() {
                    assert!(!continues((old, &was), (new, &is), less), "{old} {new}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn proofs_of_any_shape_are_refused_without_a_panic(
            seq: u64, size: u64, other: u64, hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..70)
        ) {
            let some = leaf(b"some");
            prop_assert_ne!(included(&some, seq, size, &hashes), Some([0; 32]));
            prop_assert!(!continues((seq, &some), (size, &[0; 32]), &hashes));
            if let Some(path) = inclusion(seq, size) {
                prop_assert!(path.len() <= 64);
            }
            if let Some(path) = consistency(other, size) {
                prop_assert!(path.len() <= 65);
            }
        }
    }
}
