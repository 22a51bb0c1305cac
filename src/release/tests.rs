mod checksums;
mod list;
mod lock;
