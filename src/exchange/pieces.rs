//! A queue of bytes in the pieces in which they arrived.

use std::collections::VecDeque;

use bytes::Bytes;

/// Pieces are merged up to this size in bytes, because storing pieces of one byte each would take a hundred
/// times their size.
const SMALL: usize = 1024;

#[derive(Debug, Default)]
pub struct Pieces {
    /// Contains no empty pieces.
    pieces: VecDeque<Bytes>,
    length: usize,
}

impl Pieces {
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Total number of bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    pub fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        match self.pieces.back_mut() {
            // Forwarding an empty piece would end a chunked body early.
            _ if piece.is_empty() => {}
            Some(last) if last.len() + piece.len() <= SMALL => *last = [&last[..], &piece].concat().into(),
            _ => self.pieces.push_back(piece),
        }
    }

    pub fn pop(&mut self) -> Option<Bytes> {
        let piece = self.pieces.pop_front()?;
        self.length -= piece.len();
        if self.pieces.is_empty() {
            // Frees the buffer as well.
            self.pieces = VecDeque::new();
        }
        Some(piece)
    }

    /// Inserts the pieces of `first` in front.
    pub fn prepend(&mut self, mut first: Self) {
        first.length += self.length;
        first.pieces.append(&mut self.pieces);
        *self = first;
    }

    /// All bytes in one buffer.
    pub fn concat(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.length);
        self.pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_their_order_and_small_ones_are_merged() {
        let (mut pieces, mut first) = (Pieces::default(), Pieces::default());
        for byte in 0..100 {
            pieces.push(vec![byte].into());
            pieces.push(Bytes::new());
        }
        pieces.push(vec![7; 2000].into());
        first.push(vec![1].into());
        pieces.prepend(first);
        assert_eq!((pieces.length(), pieces.concat().len()), (2101, 2101));
        let taken: Vec<_> = std::iter::from_fn(|| pieces.pop()).map(|piece| piece.to_vec()).collect();
        assert_eq!(taken, [vec![1], (0..100).collect(), vec![7; 2000]]);
        assert!(pieces.is_empty() && pieces.length() == 0);
    }
}
