/// @file
/// Standard exceptions and muster's own as bytes.
#include "runtime/base/exception_types.hpp"

#include "runtime/base/bytes.hpp"

#include <any>
#include <filesystem>
#include <functional>
#include <future>
#include <ios>
#include <map>
#include <new>
#include <regex>
#include <system_error>
#include <variant>
#include <version>
#ifdef __cpp_lib_format
#include <format>
#endif

namespace muster::runtime {
namespace {

using detail::ExceptionCodec;
using Table = std::map<std::string, ExceptionCodec, std::less<>>;

/// Calls write(ByteWriter&, const E&) with the exception, which is an E, and returns what it wrote.
template <class E, class Write>
std::vector<std::byte> taken_apart(const std::exception_ptr& exception, Write write) {
  try {
    std::rethrow_exception(exception);
  } catch (const E& error) {
    ByteWriter writer;
    write(writer, error);
    return writer.take();
  }
}

/// Calls read(ByteReader&) for the exception.
template <class Read>
std::exception_ptr put_together(std::span<const std::byte> bytes, Read read) {
  ByteReader reader(bytes);
  auto error = read(reader);
  reader.expect_end();
  return std::make_exception_ptr(std::move(error));
}

/// A type that is its text and nothing else.
template <class E>
constexpr ExceptionCodec with_message = {
    [](const std::exception_ptr& exception) {
      return taken_apart<E>(exception, [](ByteWriter& out, const E& error) { out.text(error.what()); });
    },
    [](std::span<const std::byte> bytes) { return put_together(bytes, [](ByteReader& in) { return E(in.text()); }); }};

/// A type that holds nothing that its public interface could set.
template <class E>
constexpr ExceptionCodec without_data = {
    [](const std::exception_ptr&) { return std::vector<std::byte>(); },
    [](std::span<const std::byte> bytes) { return put_together(bytes, [](ByteReader&) { return E(); }); }};

/// The categories of the standard library. A code of any other is known by its text only.
const std::error_category* category_named(std::string_view name) {
  for (const std::error_category* category :
       {&std::generic_category(), &std::system_category(), &std::iostream_category(), &std::future_category()}) {
    if (category->name() == name) return category;
  }
  return nullptr;
}

/// Writes the code, and what the constructor of a system_error was given as text: what() is that, `: ` and the code's
/// text.
void write_system_error(ByteWriter& out, const std::system_error& error) {
  if (category_named(error.code().category().name()) != &error.code().category()) {
    throw SerializationError("an error category of another library");
  }
  out.text(error.code().category().name());
  out.number(error.code().value());
  const std::string ending = error.code().message();
  std::string text = error.std::system_error::what();  // not what a filesystem_error makes of it
  const bool has_text = text.size() >= ending.size() + 2 && text.ends_with(": " + ending);
  out.number(has_text);
  if (has_text) text.resize(text.size() - ending.size() - 2);
  out.text(text);
}

struct SystemErrorData {
  std::error_code code;
  bool has_text = false;
  std::string text;
};

SystemErrorData read_system_error(ByteReader& in) {
  const std::error_category* category = category_named(in.text());
  if (category == nullptr) throw SerializationError("an error code of an unknown category");
  const std::error_code code(in.number<int>(), *category);
  const bool has_text = in.number<bool>();
  return {code, has_text, in.text()};
}

constexpr ExceptionCodec system_error_codec = {
    [](const std::exception_ptr& exception) { return taken_apart<std::system_error>(exception, write_system_error); },
    [](std::span<const std::byte> bytes) {
      return put_together(bytes, [](ByteReader& in) {
        const SystemErrorData data = read_system_error(in);
        return data.has_text ? std::system_error(data.code, data.text) : std::system_error(data.code);
      });
    }};

constexpr ExceptionCodec ios_failure_codec = {[](const std::exception_ptr& exception) {
                                                return taken_apart<std::ios_base::failure>(exception,
                                                                                           write_system_error);
                                              },
                                              [](std::span<const std::byte> bytes) {
                                                return put_together(bytes, [](ByteReader& in) {
                                                  const SystemErrorData data = read_system_error(in);
                                                  return std::ios_base::failure(data.text, data.code);
                                                });
                                              }};

constexpr ExceptionCodec filesystem_error_codec = {
    [](const std::exception_ptr& exception) {
      using std::filesystem::filesystem_error;
      return taken_apart<filesystem_error>(exception, [](ByteWriter& out, const filesystem_error& error) {
        write_system_error(out, error);
        // How many paths it was given shows in what() only; an empty one counts as none.
        out.text(error.path1().native());
        out.text(error.path2().native());
      });
    },
    [](std::span<const std::byte> bytes) {
      using std::filesystem::filesystem_error;
      return put_together(bytes, [](ByteReader& in) {
        const SystemErrorData data = read_system_error(in);
        const std::filesystem::path first = in.text();
        const std::filesystem::path second = in.text();
        if (!second.empty()) return filesystem_error(data.text, first, second, data.code);
        return first.empty() ? filesystem_error(data.text, data.code) : filesystem_error(data.text, first, data.code);
      });
    }};

constexpr ExceptionCodec future_error_codec = {
    [](const std::exception_ptr& exception) {
      return taken_apart<std::future_error>(
          exception, [](ByteWriter& out, const std::future_error& error) { out.number(error.code().value()); });
    },
    [](std::span<const std::byte> bytes) {
      return put_together(
          bytes, [](ByteReader& in) { return std::future_error(static_cast<std::future_errc>(in.number<int>())); });
    }};

constexpr ExceptionCodec regex_error_codec = {
    [](const std::exception_ptr& exception) {
      return taken_apart<std::regex_error>(exception, [](ByteWriter& out, const std::regex_error& error) {
        out.number(static_cast<int>(error.code()));
      });
    },
    [](std::span<const std::byte> bytes) {
      return put_together(bytes, [](ByteReader& in) {
        return std::regex_error(static_cast<std::regex_constants::error_type>(in.number<int>()));
      });
    }};

constexpr ExceptionCodec process_exited_codec = {
    [](const std::exception_ptr& exception) {
      return taken_apart<ProcessExitedException>(exception, [](ByteWriter& out, const ProcessExitedException& error) {
        const WorkerExit& exit = error.exit();
        out.number(exit.pid);
        out.text(exit.host);
        out.number(exit.expected);
        out.optional(exit.exit_status);
        out.optional(exit.signal);
        out.text(exit.last_output);
        out.number(std::uint64_t{exit.calls_in_flight});
        out.text(exit.cause);
      });
    },
    [](std::span<const std::byte> bytes) {
      return put_together(bytes, [](ByteReader& in) {
        WorkerExit exit;
        exit.pid = in.number<Pid>();
        exit.host = in.text();
        exit.expected = in.number<bool>();
        exit.exit_status = in.optional();
        exit.signal = in.optional();
        exit.last_output = in.text();
        exit.calls_in_flight = in.number<std::uint64_t>();
        exit.cause = in.text();
        return ProcessExitedException(std::move(exit));
      });
    }};

template <class... E>
void add_with_message(Table& table) {
  (table.emplace(typeid(E).name(), with_message<E>), ...);
}

template <class... E>
void add_without_data(Table& table) {
  (table.emplace(typeid(E).name(), without_data<E>), ...);
}

Table built_in_table() {
  Table table;
  add_with_message<std::logic_error, std::domain_error, std::invalid_argument, std::length_error, std::out_of_range,
                   std::runtime_error, std::range_error, std::overflow_error, std::underflow_error>(table);
  add_with_message<Error, HandshakeError, CodeMismatch, AuthError, VersionMismatch, UnsafeCapture, SerializationError,
                   ChannelClosed, TimeoutError, CancelledError, InterruptedError, NoSession>(table);
#ifdef __cpp_lib_format
  add_with_message<std::format_error>(table);
#endif
  add_without_data<std::exception, std::bad_exception, std::bad_alloc, std::bad_array_new_length, std::bad_cast,
                   std::bad_any_cast, std::bad_typeid, std::bad_weak_ptr, std::bad_function_call,
                   std::bad_optional_access, std::bad_variant_access>(table);
  table.emplace(typeid(std::system_error).name(), system_error_codec);
  table.emplace(typeid(std::filesystem::filesystem_error).name(), filesystem_error_codec);
  table.emplace(typeid(std::ios_base::failure).name(), ios_failure_codec);
  table.emplace("St13__ios_failure",
                ios_failure_codec);  // what libstdc++'s streams throw for it: derived, to serve two ABIs
  table.emplace(typeid(std::future_error).name(), future_error_codec);
  table.emplace(typeid(std::regex_error).name(), regex_error_codec);
  table.emplace(typeid(ProcessExitedException).name(), process_exited_codec);
  return table;
}

}  // namespace

const ExceptionCodec* built_in_codec(std::string_view type) {
  static const Table table = built_in_table();
  const auto found = table.find(type);
  return found == table.end() ? nullptr : &found->second;
}

}  // namespace muster::runtime
