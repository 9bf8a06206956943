//! Where the boot code of every machine leads: two functions of the kernel, which stands above the
//! machine and is known to it by their names alone.

unsafe extern "C" {
    /// The first CPU, on the boot stack, with the boot tables. `boot_argument` is what the boot
    /// loader handed over.
    pub safe fn kernel_main(boot_argument: u64) -> !;

    /// Any other CPU, by its number, on its idle stack.
    pub safe fn kernel_secondary(number: usize) -> !;
}
