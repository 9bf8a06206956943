//! What is known after a fault: which stack overflowed and how far ([`verdict`]), and who called
//! whom ([`unwind`], which reads frames whose function it knows with [`prologue`]);
//! and what canaries are made of, by which a smashed frame is known ([`canary`]).

pub mod canary;
pub mod prologue;
pub mod unwind;
pub mod verdict;
