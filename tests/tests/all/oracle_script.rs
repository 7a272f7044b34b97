//! `scripts/test-oracle`: what it leaves out is what must be left out.
