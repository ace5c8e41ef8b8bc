//! The order in which depmod lists the dependencies of a module: modules that nobody needs come first, then those that only they
//! need, and so on.
//!
//! depmod keeps a stack, at first of all modules that nobody needs, in its order. It takes the one on top, gives it the next place, and
//! puts those that it needs on the stack, in the order in which its file names their symbols, when nobody is left who needs them.
//! (Concluded from what kmod 30 and 34 write.)
//!
//! Which symbols a module names first is not in the index. But it matters only for those that one module puts on the stack; and if it
//! did so before, the index shows their order: what was put there last has been taken first. So the old order is made again,
//! by which it is also found out whether the index is depmod's.

use super::Unusual;

/// The places of all modules, and whose turn it was when they were put on the stack.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// By the modules' numbers.
    pub place: Vec<u32>,
    /// By the modules' numbers; `None`: nobody needs it.
    pub pusher: Vec<Option<u32>>,
}

/// The order of the modules whose dependencies, direct or not, are `needs` (by their numbers). `push` puts those that one module
/// frees, which are in the order of its `needs`, into the order in which they are put on the stack.
pub fn order<'n>(
    count: usize,
    needs: impl Fn(u32) -> &'n [u32],
    mut push: impl FnMut(u32, &mut Vec<u32>) -> Result<(), Unusual>,
) -> Result<Order, Unusual> {
    let numbers = || (0..count).filter_map(|number| u32::try_from(number).ok());
    let mut users = vec![0_u32; count];
    for number in numbers() {
        for needed in needs(number) {
            users[*needed as usize] += 1;
        }
    }
    let mut order = Order { place: vec![u32::MAX; count], pusher: vec![None; count] };
    let mut stack: Vec<u32> = numbers().filter(|number| users[*number as usize] == 0).collect();
    let mut next = 0;
    let mut freed = Vec::new();
    while let Some(number) = stack.pop() {
        order.place[number as usize] = next;
        next += 1;
        freed.clear();
        // Whoever needs it by way of another module had its turn before that one.
        for needed in needs(number) {
            let left = &mut users[*needed as usize];
            *left -= 1;
            if *left == 0 {
                freed.push(*needed);
                order.pusher[*needed as usize] = Some(number);
            }
        }
        if freed.len() > 1 {
            push(number, &mut freed)?;
        }
        stack.extend_from_slice(&freed);
    }
    if next as usize != count {
        return Err(Unusual::Cycle);
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0 and 1 need nothing, 2 needs both, 3 needs all; 4 needs 1.
    #[test]
    fn the_last_comes_first() {
        let needs: [&[u32]; 5] = [&[], &[], &[0, 1], &[2, 0, 1], &[1]];
        let reversed = |_: u32, freed: &mut Vec<u32>| {
            freed.reverse();
            Ok(())
        };
        let made = order(5, |number| needs[number as usize], reversed).unwrap();
        // 4 and 3 are needed by nobody, 4 is on top; 3 frees 2, and that 0 and 1, of which 0 is put on the stack last.
        assert_eq!(made.place, [3, 4, 2, 1, 0]);
        assert_eq!(made.pusher, [Some(2), Some(2), Some(3), None, None]);
    }

    #[test]
    fn a_circle() {
        let needs: [&[u32]; 3] = [&[1, 2], &[0, 2], &[]];
        assert!(matches!(order(3, |number| needs[number as usize], |_, _| Ok(())), Err(Unusual::Cycle)));
    }
}
