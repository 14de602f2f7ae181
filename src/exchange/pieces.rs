//! Bytes in a row, in the pieces that they came in.

use std::collections::VecDeque;

use bytes::Bytes;

/// Pieces that are no larger together become one, so that those of a byte each do not take a hundred times their size.
const SMALL: usize = 1024;

#[derive(Debug, Default)]
pub struct Pieces {
    /// None of them is empty.
    pieces: VecDeque<Bytes>,
    length: usize,
}

impl Pieces {
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes in all.
    pub fn length(&self) -> usize {
        self.length
    }

    pub fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        match self.pieces.back_mut() {
            // No empty piece is ever passed on, for it would end a body twice.
            _ if piece.is_empty() => {}
            Some(last) if last.len() + piece.len() <= SMALL => *last = [&last[..], &piece].concat().into(),
            _ => self.pieces.push_back(piece),
        }
    }

    /// Takes the first piece.
    pub fn pop(&mut self) -> Option<Bytes> {
        let piece = self.pieces.pop_front()?;
        self.length -= piece.len();
        if self.pieces.is_empty() {
            // Not even the room for it is kept.
            self.pieces = VecDeque::new();
        }
        Some(piece)
    }

    /// Puts these in front.
    pub fn prepend(&mut self, mut first: Self) {
        first.length += self.length;
        first.pieces.append(&mut self.pieces);
        *self = first;
    }

    /// All of them as one.
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
    fn pieces_come_out_in_their_order_and_small_ones_together() {
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
