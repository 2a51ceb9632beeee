//! Who holds which block of the cache: blocks are counted before a request begins, shared where prompts begin alike, and kept after
//! their request for the next one as long as nobody needs the room.

use std::collections::HashMap;

use crate::model::cache::POSITIONS;

/// What stands in a full block: its tokens, and the block before it (its serial number, or the root's).
#[derive(Clone, PartialEq, Eq, Hash)]
struct Content {
    before: u64,
    tokens: [u32; POSITIONS],
}

#[derive(Default)]
struct Place {
    /// Sequences that hold it.
    holders: u32,
    /// A new one whenever the block is taken for new content.
    serial: u64,
    content: Option<Content>,
    /// When it was last held.
    left_at: u64,
}

/// All blocks of a cache.
pub struct Blocks {
    places: Vec<Place>,
    free: Vec<u32>,
    known: HashMap<Content, u32>,
    promised: usize,
    written: usize,
    serials: u64,
    clock: u64,
}

/// A sequence's blocks, and how many it may have at most. Given back by [`Blocks::leave`].
#[derive(Debug, Default)]
pub struct Held {
    pub blocks: Vec<u32>,
    promised: usize,
}

/// Blocks for so many tokens.
pub fn blocks_for(tokens: usize) -> usize {
    tokens.div_ceil(POSITIONS)
}

impl Blocks {
    pub fn new(count: usize) -> Blocks {
        Blocks {
            places: (0..count).map(|_| Place::default()).collect(),
            free: (0..count as u32).rev().collect(),
            known: HashMap::new(),
            promised: 0,
            written: 0,
            serials: 0,
            clock: 0,
        }
    }

    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// Blocks that requests hold, and those that are kept for the next.
    pub fn used(&self) -> (usize, usize) {
        let held = self.places.iter().filter(|place| place.holders > 0).count();
        let kept = |place: &&Place| place.holders == 0 && place.content.is_some();
        (held, self.places.iter().filter(kept).count())
    }

    /// How many have ever been taken: the others have no memory yet.
    pub fn written(&self) -> usize {
        self.written
    }

    /// Promises room for `most` tokens, and hands out the blocks that hold the beginning of `prompt` already; `root` tells apart what
    /// must not be shared. None: there is no room until others leave.
    pub fn enter(&mut self, root: u64, prompt: &[u32], most: usize) -> Option<Held> {
        let promised = blocks_for(most);
        if self.promised + promised > self.count() {
            return None;
        }
        self.promised += promised;
        let mut held = Held {
            blocks: Vec::new(),
            promised,
        };
        let mut before = root;
        // The last token is always run: its logits are wanted.
        for tokens in prompt[..prompt.len().saturating_sub(1)].as_chunks().0 {
            let content = Content {
                before,
                tokens: *tokens,
            };
            let Some(block) = self.known.get(&content) else {
                break;
            };
            let place = &mut self.places[*block as usize];
            place.holders += 1;
            before = place.serial;
            held.blocks.push(*block);
        }
        Some(held)
    }

    /// Takes a block for the sequence's next positions. It is there: it was promised.
    pub fn grow(&mut self, held: &mut Held) {
        debug_assert!(held.blocks.len() < held.promised);
        let block = self.free.pop().or_else(|| self.forget_oldest());
        // More blocks are held than promised only by a fault of this file.
        let Some(block) = block else {
            unreachable!("promised blocks are gone")
        };
        self.serials += 1;
        let place = &mut self.places[block as usize];
        self.written += usize::from(place.serial == 0);
        place.holders = 1;
        place.serial = self.serials;
        held.blocks.push(block);
    }

    /// Makes the full block at `index` known, so that later prompts may share it.
    pub fn know(&mut self, root: u64, held: &Held, index: usize, tokens: &[u32; POSITIONS]) {
        let block = held.blocks[index];
        let before = match index {
            0 => root,
            _ => self.places[held.blocks[index - 1] as usize].serial,
        };
        let content = Content {
            before,
            tokens: *tokens,
        };
        if self.places[block as usize].content.is_none() && !self.known.contains_key(&content) {
            self.known.insert(content.clone(), block);
            self.places[block as usize].content = Some(content);
        }
    }

    /// Takes blocks and promise back.
    pub fn leave(&mut self, held: Held) {
        self.promised -= held.promised;
        self.clock += 1;
        for block in held.blocks {
            let place = &mut self.places[block as usize];
            place.holders -= 1;
            if place.holders == 0 {
                place.left_at = self.clock;
                if place.content.is_none() {
                    self.free.push(block);
                }
            }
        }
    }

    /// The block that nobody has held for the longest time; of one sequence's, the last: others may stand on the first.
    fn forget_oldest(&mut self) -> Option<u32> {
        let idle = self
            .places
            .iter()
            .enumerate()
            .filter(|(_, place)| place.holders == 0);
        let (block, _) = idle
            .filter(|(_, place)| place.content.is_some())
            .min_by_key(|(_, place)| (place.left_at, std::cmp::Reverse(place.serial)))?;
        if let Some(content) = self.places[block].content.take() {
            self.known.remove(&content);
        }
        Some(block as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(blocks: &mut Blocks, root: u64, held: &mut Held, tokens: &[u32]) {
        while held.blocks.len() < blocks_for(tokens.len()) {
            blocks.grow(held);
        }
        for (index, tokens) in tokens.as_chunks().0.iter().enumerate() {
            blocks.know(root, held, index, tokens);
        }
    }

    #[test]
    fn equal_beginnings_are_shared_but_not_the_last_token_and_not_across_roots() {
        let mut blocks = Blocks::new(10);
        let prompt: Vec<u32> = (0..100).collect();
        let mut first = blocks.enter(0, &prompt, 128).unwrap();
        assert!(first.blocks.is_empty());
        fill(&mut blocks, 0, &mut first, &prompt);
        let second = blocks.enter(0, &prompt, 128).unwrap();
        assert_eq!(second.blocks, first.blocks[..3]);
        blocks.leave(first);
        blocks.leave(second);
        assert_eq!(blocks.enter(0, &prompt[..96], 128).unwrap().blocks.len(), 2);
        assert!(blocks.enter(1 << 63, &prompt, 96).unwrap().blocks.is_empty());
        let mut other = prompt.clone();
        other[40] = 7;
        assert_eq!(blocks.enter(0, &other, 32).unwrap().blocks.len(), 1);
    }

    #[test]
    fn who_does_not_fit_waits_and_what_nobody_holds_gives_way() {
        let mut blocks = Blocks::new(4);
        let (a, b): (Vec<u32>, Vec<u32>) = ((0..64).collect(), (500..564).collect());
        let mut first = blocks.enter(0, &a, 96).unwrap();
        fill(&mut blocks, 0, &mut first, &a);
        assert!(blocks.enter(0, &b, 64).is_none());
        blocks.leave(first);
        let mut second = blocks.enter(0, &b, 128).unwrap();
        fill(&mut blocks, 0, &mut second, &(500..628).collect::<Vec<u32>>());
        let mut seen = second.blocks.clone();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3]);
        blocks.leave(second);
        // All of a's blocks gave way.
        assert!(blocks.enter(0, &a, 64).unwrap().blocks.is_empty());
    }

    #[test]
    fn a_block_taken_for_something_else_ends_what_stood_on_it() {
        let mut blocks = Blocks::new(3);
        let prompt: Vec<u32> = (0..65).collect();
        let mut held = blocks.enter(0, &prompt, 65).unwrap();
        fill(&mut blocks, 0, &mut held, &prompt);
        blocks.leave(held);
        // Takes the free third and the second, which stood on the first.
        let mut other = blocks.enter(0, &[9; 64], 64).unwrap();
        blocks.grow(&mut other);
        blocks.grow(&mut other);
        assert_eq!(blocks.enter(0, &prompt, 32).unwrap().blocks.len(), 1);
    }
}
