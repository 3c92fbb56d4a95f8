//! Earlier calls and results, in the form in which the model is asked to write calls.
