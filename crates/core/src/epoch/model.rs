//! The production epoch under loom: every interleaving, in small, and the mistakes that must be noticed.
//!
//! `cells` stand for what epochs protect. A reader looks at the published cell under a guard; the bumper publishes the other
//! cell, bumps, and when the epoch is safe takes the old cell for itself. loom's cells complain when a use and a reclamation
//! are not ordered, so the models check both that nobody enters too late and that leaving publishes.
//!
//! The published number is relaxed on both sides: all order has to come from the epoch.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::{FenceForm, LightEpoch, Participant, interrupt};
use crate::mutation::{Mutation, model_with};

struct World {
    published: AtomicUsize,
    cells: [UnsafeCell<()>; 2],
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self { published: AtomicUsize::new(0), cells: [UnsafeCell::new(()), UnsafeCell::new(())] })
    }

    /// One operation of a reader.
    fn look(&self, participant: &mut Participant) {
        interrupt::poll();
        let _guard = participant.enter();
        self.use_published();
    }

    fn use_published(&self) {
        let published = self.published.load(Ordering::Relaxed);
        interrupt::poll();
        self.cells[published].with(|_| ());
        interrupt::poll();
    }

    /// Unlinks cell 0, and reclaims it if that is safe at once.
    fn reclaim(&self, epoch: &LightEpoch) {
        self.published.store(1, Ordering::Relaxed);
        let bumped = epoch.bump();
        if epoch.is_safe(bumped) {
            self.cells[0].with_mut(|_| ());
        }
    }
}

/// Starts a reader that an interrupt can hit.
/// It hands its participant back, so that unregistering is no part of the interleavings.
fn reader<T: 'static>(body: impl FnOnce() -> T + 'static) -> thread::JoinHandle<T> {
    interrupt::connect(0);
    thread::spawn(|| {
        interrupt::arrive(0);
        let result = body();
        interrupt::depart();
        result
    })
}

fn look_once(form: FenceForm) {
    let (epoch, world) = (LightEpoch::with_fences(form), World::new());
    let reader = reader({
        let (epoch, world) = (epoch.clone(), Arc::clone(&world));
        move || world.look(&mut epoch.register())
    });
    world.reclaim(&epoch);
    reader.join().unwrap();
    epoch.wait_until_safe(epoch.bump());
    world.cells[0].with_mut(|_| ());
}

fn look_twice(form: FenceForm) {
    let (epoch, world) = (LightEpoch::with_fences(form), World::new());
    let mut participant = epoch.register();
    let reader = reader({
        let world = Arc::clone(&world);
        move || {
            world.look(&mut participant);
            world.look(&mut participant);
            participant
        }
    });
    world.reclaim(&epoch);
    let _participant = reader.join().unwrap();
}

fn look_and_renew(form: FenceForm) {
    let (epoch, world) = (LightEpoch::with_fences(form), World::new());
    let mut participant = epoch.register();
    let reader = reader({
        let world = Arc::clone(&world);
        move || {
            {
                let mut guard = participant.enter();
                world.use_published();
                guard.renew();
                world.use_published();
            }
            participant
        }
    });
    world.reclaim(&epoch);
    let _participant = reader.join().unwrap();
}

#[test]
fn model_symmetric() {
    let mistakes = [Mutation::EpochEntryWithoutFence, Mutation::EpochBumpWithoutFence];
    model_with(&mistakes, 3, || look_once(FenceForm::Symmetric));
}

#[test]
fn model_asymmetric() {
    model_with(&[Mutation::EpochBumpWithoutFence], 3, || look_once(FenceForm::Asymmetric));
}

#[test]
fn model_entering_again() {
    let mistakes = [Mutation::EpochLeaveRelaxed, Mutation::EpochEnterRelaxed];
    model_with(&mistakes, 3, || look_twice(FenceForm::Symmetric));
    model_with::<Mutation>(&[], 2, || look_twice(FenceForm::Asymmetric));
}

#[test]
fn model_renewing() {
    model_with::<Mutation>(&[], 3, || look_and_renew(FenceForm::Symmetric));
    model_with::<Mutation>(&[], 2, || look_and_renew(FenceForm::Asymmetric));
}

/// A participant that is preempted between the load of the epoch and the store of its slot stores an epoch that is safe
/// already; it must still hold up the bumps behind it.
#[test]
fn model_stale_epoch() {
    model_with::<Mutation>(&[], 3, || {
        let (epoch, world) = (LightEpoch::with_fences(FenceForm::Symmetric), World::new());
        let mut participant = epoch.register();
        let reader = reader({
            let world = Arc::clone(&world);
            move || {
                world.look(&mut participant);
                participant
            }
        });
        let earlier = epoch.bump();
        let _ = epoch.is_safe(earlier);
        world.reclaim(&epoch);
        let _participant = reader.join().unwrap();
    });
}

/// Who only reads that an epoch is safe is behind those who left before another thread's scan.
#[test]
fn model_safe_is_handed_on() {
    model_with::<Mutation>(&[], 2, || {
        let (epoch, world) = (LightEpoch::with_fences(FenceForm::Symmetric), World::new());
        let mut participant = epoch.register();
        let reader = reader({
            let world = Arc::clone(&world);
            move || {
                world.look(&mut participant);
                participant
            }
        });
        let scanner = thread::spawn({
            let epoch = epoch.clone();
            move || {
                epoch.safe_epoch();
            }
        });
        world.reclaim(&epoch);
        let _participant = reader.join().unwrap();
        scanner.join().unwrap();
    });
}

#[test]
fn model_actions_run_once() {
    model_with::<Mutation>(&[], 3, || {
        let epoch = LightEpoch::with_fences(FenceForm::Symmetric);
        let ran = Arc::new(AtomicUsize::new(0));
        let action = Arc::clone(&ran);
        epoch.bump_with(Box::new(move || {
            action.fetch_add(1, Ordering::Relaxed);
        }));
        let other = thread::spawn({
            let epoch = epoch.clone();
            move || epoch.drain()
        });
        let here = epoch.drain();
        assert_eq!(here + other.join().unwrap(), 1);
        assert_eq!(ran.load(Ordering::Relaxed), 1);
    });
}
