// What processes say to each other before they know each other. The outcome must be a value or an Error; what was read,
// written again, must read as the same.

#include "runtime/cluster/handshake.hpp"

#include "runtime/cluster/news.hpp"
#include "runtime/cluster/program_messages.hpp"
#include "runtime/session/start_record.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

namespace {

using namespace muster::runtime;
using Bytes = std::span<const std::byte>;

/// Reads with `decode`, writes, reads and writes again: both writings must be equal.
template <class Decode>
void twice(Bytes bytes, const Decode& decode) {
  try {
    const auto first = encode(decode(bytes));
    const auto second = encode(decode(first.bytes.bytes()));
    const auto a = first.bytes.bytes(), b = second.bytes.bytes();
    if (!std::equal(a.begin(), a.end(), b.begin(), b.end())) std::abort();
  } catch (const muster::Error&) {
  }
}

void check_hello(Bytes bytes) {
  twice(bytes, decode_hello);
  try {
    verify(decode_hello(bytes), "cookie");
    std::abort();  // nobody guesses a proof
  } catch (const muster::Error&) {
  }
}

/// The first byte says how many.
void check_news(Bytes bytes) {
  if (bytes.empty()) return;
  const auto count = std::to_integer<std::uint32_t>(bytes[0]);
  twice(bytes.subspan(1), [count](Bytes some) { return decode_news(some, count); });
}

void check_knock(Bytes bytes) {
  twice(bytes, decode_knock);
  try {
    verify(decode_knock(bytes), "cookie");
    std::abort();
  } catch (const muster::Error&) {
  }
}

void check_program_request(Bytes bytes) {
  twice(bytes, decode_program_request);
  try {
    verify(decode_program_request(bytes), "cookie");
    std::abort();
  } catch (const muster::Error&) {
  }
}

void check_record(Bytes bytes) {
  const std::string line(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  try {
    const auto record = read_record(line);
    (void)read_record(write_record(record));
  } catch (const muster::Error&) {
  }
}

}  // namespace

/// The first byte chooses what the rest is read as.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bytes bytes(reinterpret_cast<const std::byte*>(data + 1), size - 1);
  switch (data[0] % 10) {
    case 0: check_hello(bytes); break;
    case 1: twice(bytes, decode_welcome); break;
    case 2: twice(bytes, decode_refuse); break;
    case 3:
    case 4: check_news(bytes); break;
    case 6: check_knock(bytes); break;
    case 7: check_program_request(bytes); break;
    case 8: twice(bytes, decode_program_part); break;
    case 9: twice(bytes, decode_program_list); break;
    default: check_record(bytes); break;
  }
  return 0;
}
