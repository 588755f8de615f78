//! PromQL: text → tokens → syntax tree → checked tree → evaluation.
