/// @file
/// Exceptions as bytes: what left a task here becomes a RemoteException there.
#pragma once

#include <muster/errors.hpp>

#include <cstddef>
#include <exception>
#include <span>
#include <string>
#include <vector>

namespace muster::detail {

/// An exception that left a task, taken apart.
struct RemoteFailure {
  /// How the caller sees it. An expired deadline, a cancelled task and a process that ended arrive as themselves.
  enum class Form : unsigned char { remote, timeout, cancelled, process_exited, channel_closed };

  Form form = Form::remote;
  Pid pid = 0;
  std::string type_name;               ///< readable
  std::string message;                 ///< what() there
  std::string backtrace;               ///< symbolized
  std::vector<std::string> caught_as;  ///< mangled names of the type and of all its public bases
  std::vector<std::byte> original;     ///< the exception itself where its type is known or registered, else empty
  std::string text() const;            ///< what() of the RemoteException
};

}  // namespace muster::detail

namespace muster::runtime {

/// Whose failure it is.
enum class FailureOrigin : unsigned char { runtime, task };

/// Encodes an exception that left a task of process `here`. A RemoteException nests: the failure it carries travels
/// inside. Never throws but std::bad_alloc.
/// @param origin a task's failure reaches fetchers as a RemoteException, but for a deadline that ended and a
/// cancellation; what the runtime itself has to say, as it is
std::vector<std::byte> encode_failure(const std::exception_ptr& exception, Pid here,
                                      FailureOrigin origin = FailureOrigin::runtime);

/// what() of an exception, or its type where it has none.
std::string message_of(const std::exception_ptr& exception);

/// The exception that a fetcher of that failure throws.
/// @throws SerializationError for bytes that are none.
std::exception_ptr decode_failure(std::span<const std::byte> bytes);

}  // namespace muster::runtime
