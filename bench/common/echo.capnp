# What the Cap'n Proto peers call.
@0xc3a1f0d2b5e49786;

interface Echo {
  number @0 (value :Int32) -> (value :Int32);
  # Answers with the same number.
  size @1 (array :List(Float64)) -> (size :UInt64);
  # How many there are.
  ones @2 (size :UInt64) -> (array :List(Float64));
  # So many of them.
}
