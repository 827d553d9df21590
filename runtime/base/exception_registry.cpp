/// @file
/// The exception types that users registered.
#include "runtime/base/bytes.hpp"
#include "runtime/base/exception_types.hpp"

#include <muster/detail/exception_codec.hpp>

#include <map>
#include <mutex>
#include <shared_mutex>

namespace muster {
namespace {

/// Registered types by their mangled names. One for the program, not one for a session: it holds facts about the
/// program's types, which are the same whatever session runs, and it is filled by initializers of namespace-scope
/// variables, before there is any session. Hence a static in a function, made by whoever comes first.
struct Registry {
  std::shared_mutex mutex;  ///< guards codecs
  std::map<std::string, detail::ExceptionCodec, std::less<>> codecs;
};

Registry& registry() {
  static Registry instance;
  return instance;
}

}  // namespace

bool detail::add_exception_codec(const std::type_info& type, ExceptionCodec codec) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  all.codecs.insert_or_assign(type.name(), codec);  // the last one: a plugin that was unloaded and loaded again
  return true;
}

std::vector<std::byte> detail::flattened(const Payload& payload) {
  if (payload.has_references()) {
    throw SerializationError("an exception that holds a Future, RemoteChannel or WorkerPool travels by its text only");
  }
  runtime::ByteWriter out;
  out.bytes(payload.bytes.bytes());
  out.number(std::uint64_t{payload.parts.size()});
  for (const Part& part : payload.parts) out.bytes({part.data, part.size});
  return out.take();
}

detail::Payload detail::unflattened(std::span<const std::byte> bytes) {
  runtime::ByteReader in(bytes);
  Payload payload;
  const std::span<const std::byte> small = in.bytes();
  payload.bytes.append(small.data(), small.size());
  const std::size_t parts = in.count(sizeof(std::uint64_t));
  for (std::size_t i = 0; i < parts; ++i) {
    const std::span<const std::byte> content = in.bytes();
    const auto copy = std::make_shared<const std::vector<std::byte>>(content.begin(), content.end());
    payload.parts.push_back(Part{copy->data(), copy->size(), copy});
  }
  in.expect_end();
  return payload;
}

std::optional<detail::ExceptionCodec> runtime::codec_of(std::string_view type) {
  if (const detail::ExceptionCodec* codec = built_in_codec(type)) return *codec;
  Registry& all = registry();
  const std::shared_lock lock(all.mutex);
  const auto found = all.codecs.find(type);
  return found == all.codecs.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace muster
