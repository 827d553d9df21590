/// @file
/// Exceptions as bytes.
#include "runtime/base/failure.hpp"

#include "runtime/base/backtrace.hpp"
#include "runtime/base/bytes.hpp"
#include "runtime/base/demangle.hpp"
#include "runtime/base/exception_types.hpp"

#include <cxxabi.h>

#include <new>
#include <utility>

namespace muster::runtime {
namespace {

using detail::RemoteFailure;
using Form = RemoteFailure::Form;

// What a failure may take on the wire. A text beyond its limit is cut; an original beyond it does not travel.
constexpr std::size_t max_message = 64UL << 10U;
constexpr std::size_t max_backtrace = 256UL << 10U;
constexpr std::size_t max_caught_as = 256;
constexpr std::size_t max_original = 16UL << 20U;
/// How deep a failure may hold failures that hold failures: beyond it only the texts travel.
constexpr int max_depth = 16;

/// The text itself, or its beginning; never half a character of UTF-8.
std::string cut(std::string text, std::size_t limit) {
  if (text.size() <= limit) return text;
  std::size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;
  text.resize(end);
  return text + "... (cut)";
}

void write_failure(ByteWriter& out, const RemoteFailure& failure) {
  out.number(static_cast<unsigned char>(failure.form));
  out.number(failure.pid);
  out.text(failure.type_name);
  out.text(failure.message);
  out.text(failure.backtrace);
  out.number(std::uint64_t{failure.caught_as.size()});
  for (const std::string& name : failure.caught_as) out.text(name);
  out.bytes(failure.original);
}

RemoteFailure read_failure(ByteReader& in) {
  RemoteFailure failure;
  const auto form = in.number<unsigned char>();
  if (form > static_cast<unsigned char>(Form::channel_closed)) {
    throw SerializationError("the bytes of a failure are damaged: it has no known form");
  }
  failure.form = static_cast<Form>(form);
  failure.pid = in.number<Pid>();
  failure.type_name = in.text();
  failure.message = in.text();
  failure.backtrace = in.text();
  const std::size_t names = in.count(sizeof(std::uint64_t));
  for (std::size_t i = 0; i < names; ++i) failure.caught_as.push_back(in.text());
  const std::span<const std::byte> original = in.bytes();
  failure.original.assign(original.begin(), original.end());
  return failure;
}

RemoteFailure failure_of(const std::exception_ptr& exception, Pid here, FailureOrigin origin, int depth);
std::exception_ptr thrown_by_fetch(RemoteFailure failure, int depth);
std::exception_ptr revive(const RemoteFailure& failure, int depth);

/// An exception inside another, maybe none.
void write_member(ByteWriter& out, const std::exception_ptr& member, Pid here, int depth) {
  out.number(member != nullptr);
  if (member) write_failure(out, failure_of(member, here, FailureOrigin::runtime, depth + 1));
}

/// It comes back as what it was where its type is known here, else as a RemoteException.
std::exception_ptr read_member(ByteReader& in, int depth) {
  if (!in.number<bool>()) return nullptr;
  RemoteFailure failure = read_failure(in);
  if (failure.form == Form::remote) {
    if (std::exception_ptr original = revive(failure, depth + 1)) return original;
  }
  return thrown_by_fetch(std::move(failure), depth + 1);
}

void write_composite(ByteWriter& out, const CompositeException& composite, Pid here, int depth) {
  // As many as fit, told before each whether it comes.
  std::size_t left = composite.exceptions().size();
  for (const std::exception_ptr& member : composite.exceptions()) {
    ByteWriter one;
    write_member(one, member, here, depth);
    const std::vector<std::byte> bytes = one.take();
    if (out.size() + bytes.size() > max_original / 2) break;
    out.number(true);
    out.bytes(bytes);
    --left;
  }
  if (left > 0) {
    ByteWriter rest;
    const Error error(std::to_string(left) + " more exceptions, which did not fit into the message");
    write_member(rest, std::make_exception_ptr(error), here, depth);
    out.number(true);
    out.bytes(rest.take());
  }
  out.number(false);
}

std::exception_ptr read_composite(ByteReader& in, int depth) {
  std::vector<std::exception_ptr> members;
  while (in.number<bool>()) {
    ByteReader one(in.bytes());
    members.push_back(read_member(one, depth));
    one.expect_end();
  }
  return std::make_exception_ptr(CompositeException(std::move(members)));
}

void write_launch_error(ByteWriter& out, const LaunchError& error, Pid here, int depth) {
  out.number(std::uint64_t{error.failures().size()});
  for (const LaunchFailure& failure : error.failures()) {
    out.text(failure.where);
    out.number(static_cast<unsigned char>(failure.cause));
    out.optional(failure.exit_status);
    out.optional(failure.signal);
    out.text(failure.output);
    out.text(failure.message);
    write_member(out, failure.error, here, depth);
  }
  out.number(std::uint64_t{error.joined().size()});
  for (const Pid pid : error.joined()) out.number(pid);
}

std::exception_ptr read_launch_error(ByteReader& in, int depth) {
  std::vector<LaunchFailure> failures(in.count(16));
  for (LaunchFailure& failure : failures) {
    failure.where = in.text();
    const auto cause = in.number<unsigned char>();
    if (cause > static_cast<unsigned char>(LaunchCause::handshake))
      throw SerializationError("a launch failed for no known cause");
    failure.cause = static_cast<LaunchCause>(cause);
    failure.exit_status = in.optional();
    failure.signal = in.optional();
    failure.output = in.text();
    failure.message = in.text();
    failure.error = read_member(in, depth);
  }
  std::vector<Pid> joined(in.count(sizeof(Pid)));
  for (Pid& pid : joined) pid = in.number<Pid>();
  return std::make_exception_ptr(LaunchError(std::move(failures), std::move(joined)));
}

/// Writes the exception itself. Those that hold further exceptions are written here, all others by their codec.
/// @returns false where its type is not known
bool write_original(ByteWriter& out, const std::exception_ptr& exception, const std::type_info& type, Pid here,
                    int depth) {
  out.text(type.name());
  if (type == typeid(RemoteException) || type == typeid(CompositeException) || type == typeid(LaunchError)) {
    try {
      std::rethrow_exception(exception);
    } catch (const RemoteException& error) {
      write_failure(out, *error.failure());
    } catch (const CompositeException& error) {
      write_composite(out, error, here, depth);
    } catch (const LaunchError& error) {
      write_launch_error(out, error, here, depth);
    }
    return true;
  }
  const std::optional<detail::ExceptionCodec> codec = codec_of(type.name());
  if (codec) out.bytes(codec->take_apart(exception));
  return codec.has_value();
}

std::vector<std::byte> original_of(const std::exception_ptr& exception, const std::type_info& type, Pid here,
                                   int depth) {
  if (depth >= max_depth) return {};
  try {
    ByteWriter out;
    if (write_original(out, exception, type, here, depth) && out.size() <= max_original) return out.take();
  } catch (const std::bad_alloc&) {
    throw;
  } catch (...) {  // NOLINT(bugprone-empty-catch): a codec refused: it travels as its text
  }
  return {};
}

std::exception_ptr read_original(std::span<const std::byte> bytes, int depth) {
  ByteReader in(bytes);
  const std::string type = in.text();
  std::exception_ptr result;
  if (type == typeid(RemoteException).name()) {
    result = std::make_exception_ptr(RemoteException(std::make_shared<const RemoteFailure>(read_failure(in))));
  } else if (type == typeid(CompositeException).name()) {
    result = read_composite(in, depth);
  } else if (type == typeid(LaunchError).name()) {
    result = read_launch_error(in, depth);
  } else if (const std::optional<detail::ExceptionCodec> codec = codec_of(type)) {
    result = codec->put_together(in.bytes());
  } else {
    return nullptr;
  }
  in.expect_end();
  return result;
}

/// The exception itself, or null where this process can't make it.
std::exception_ptr revive(const RemoteFailure& failure, int depth) {
  if (failure.original.empty() || depth >= max_depth) return nullptr;
  try {
    return read_original(failure.original, depth);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (...) {
    return nullptr;  // a user's constructor threw, or its bytes are damaged: the RemoteException tells all there is
  }
}

/// Those that a fetcher sees as themselves. Only the type itself: what a user derived from it stays distinguishable.
Form form_of(const std::type_info& type, FailureOrigin origin) {
  if (type == typeid(TimeoutError)) return Form::timeout;
  if (type == typeid(CancelledError)) return Form::cancelled;
  if (origin == FailureOrigin::task) return Form::remote;
  if (type == typeid(ProcessExitedException)) return Form::process_exited;
  if (type == typeid(ChannelClosed)) return Form::channel_closed;
  return Form::remote;
}

std::string backtrace_of(const std::exception_ptr& exception) {
  try {
    return cut(symbolized(frames_of(exception)), max_backtrace);
  } catch (const std::exception& error) {
    return std::string("  (no backtrace: ") + error.what() + ")";
  }
}

/// Dynamic type and text of an exception.
struct Description {
  const std::type_info* type = nullptr;  ///< null for an exception of another language
  std::string message;
};

Description describe(const std::exception_ptr& exception) {
  Description result;
  const auto with = [&](std::string_view text) {
    result.type = abi::__cxa_current_exception_type();
    result.message = text;
  };
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    const char* what = error.what();
    with(what != nullptr ? what : "");
  } catch (const std::string& text) {
    with(text);
  } catch (const char* text) {
    with(text != nullptr ? text : "");
  } catch (...) {
    with("");
  }
  return result;
}

RemoteFailure failure_of(const std::exception_ptr& exception, Pid here, FailureOrigin origin, int depth) {
  RemoteFailure failure;
  failure.pid = here;
  if (!exception) {
    failure.type_name = "no exception";
    return failure;
  }
  Description description = describe(exception);
  failure.message = cut(std::move(description.message), max_message);
  if (description.type == nullptr) {
    failure.type_name = "an exception of another language";
    return failure;
  }
  failure.form = form_of(*description.type, origin);
  failure.type_name = readable_name(*description.type);
  failure.caught_as = caught_as(*description.type);
  if (failure.caught_as.size() > max_caught_as) failure.caught_as.resize(max_caught_as);
  failure.original = original_of(exception, *description.type, here, depth);
  if (failure.form == Form::remote) failure.backtrace = backtrace_of(exception);
  return failure;
}

/// What a fetcher throws.
std::exception_ptr thrown_by_fetch(RemoteFailure failure, int depth) {
  switch (failure.form) {
    case Form::timeout: return std::make_exception_ptr(TimeoutError(failure.message));
    case Form::cancelled: return std::make_exception_ptr(CancelledError(failure.message));
    case Form::channel_closed: return std::make_exception_ptr(ChannelClosed(failure.message));
    case Form::process_exited:
      if (std::exception_ptr exited = revive(failure, depth)) return exited;
      break;
    case Form::remote: break;
  }
  return std::make_exception_ptr(RemoteException(std::make_shared<const RemoteFailure>(std::move(failure))));
}

}  // namespace

std::vector<std::byte> encode_failure(const std::exception_ptr& exception, Pid here, FailureOrigin origin) {
  ByteWriter out;
  write_failure(out, failure_of(exception, here, origin, 0));
  return out.take();
}

std::string message_of(const std::exception_ptr& exception) {
  if (!exception) return "no exception";
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    return type != nullptr ? readable_name(*type) : "an exception of another language";
  }
}

std::exception_ptr decode_failure(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  RemoteFailure failure = read_failure(in);
  in.expect_end();
  return thrown_by_fetch(std::move(failure), 0);
}

std::exception_ptr original_exception(const RemoteFailure& failure) { return revive(failure, 0); }

}  // namespace muster::runtime
