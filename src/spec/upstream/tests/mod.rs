mod checksums;
mod inherit;
mod list;
mod lock;
