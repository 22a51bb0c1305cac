//! Values within QEMU's options.

/// A value inside one of QEMU's options, where a comma separates and is itself written twice.
pub(super) fn option_value(value: &str) -> String {
    value.replace(',', ",,")
}
