//! Guarantees of a store, kept by the real commands under faults: disk errors, kills and power cuts at every single change
//! ([`steps`]), damage of everything that is stored ([`damage`]), pins that change ([`pins`]), clean rebuilds beside other
//! commands ([`scratch`]), and many processes at once ([`crowd`]).

mod check;
mod crowd;
mod damage;
mod frames;
mod local;
mod pins;
mod scratch;
mod site;
mod steps;
mod world;
