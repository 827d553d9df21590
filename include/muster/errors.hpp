/// @file
/// The exceptions muster throws, and how exceptions of tasks travel.
#pragma once

#include <muster/ids.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <typeinfo>
#include <vector>

namespace muster {

/// Base of everything muster throws of its own.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// How a worker ended.
struct WorkerExit {
  Pid pid = 0;                          ///< which
  std::string host = {};                ///< where it ran
  bool expected = false;                ///< it was asked to leave
  std::optional<int> exit_status = {};  ///< where it exited by itself
  std::optional<int> signal = {};       ///< where a signal ended it
  std::string last_output = {};         ///< the last lines it wrote
  std::size_t calls_in_flight = 0;      ///< calls of this process that waited for it
  std::string cause = {};               ///< why, where its manager knows: a time limit, a node that failed

  /// One readable paragraph: who, how and why, last output, what was in flight.
  std::string describe() const;
};

namespace detail {
struct RemoteFailure;
}

/// An exception that left a task, as every fetcher sees it. `what()` is `On worker 3: std::out_of_range: …` followed by
/// the backtrace from the throw there.
class RemoteException : public Error {
 public:
  /// For muster's own use.
  explicit RemoteException(std::shared_ptr<const detail::RemoteFailure> failure);

  /// Process where it was thrown.
  Pid pid() const;
  /// Readable name of the thrown type, e.g. `std::out_of_range` or `int`.
  const std::string& type_name() const;
  /// The original `what()`; empty where the type has none.
  const std::string& message() const;
  /// Symbolized frames at the throw, one per line, innermost first.
  const std::string& backtrace() const;
  /// Whether `catch (const E&)` would have caught it there.
  template <class E>
  bool is() const {
    return is_type(typeid(E));
  }
  /// Throws the original type where this process knows it: standard exceptions, muster's own (a CompositeException with
  /// all its members), and types given to register_exception (muster/register_exception.hpp). Else this
  /// RemoteException: also for a type derived from one of those, for std::system_error with a category that is not the
  /// standard library's, and where the exception is too large to travel (16 MiB). What std::throw_with_nested hid
  /// inside does not travel.
  [[noreturn]] void rethrow_cause() const;

  /// For muster's own use.
  const std::shared_ptr<const detail::RemoteFailure>& failure() const { return failure_; }

 private:
  bool is_type(const std::type_info& type) const;

  std::shared_ptr<const detail::RemoteFailure> failure_;
};

/// Several failures of one operation.
class CompositeException : public Error {
 public:
  /// @param exceptions at least one; `what()` is the first one's and how many more there are.
  explicit CompositeException(std::vector<std::exception_ptr> exceptions);
  /// All of them, in order of start.
  const std::vector<std::exception_ptr>& exceptions() const { return *exceptions_; }

 private:
  std::shared_ptr<const std::vector<std::exception_ptr>> exceptions_;
};

/// A process that a call needs has ended, or was removed.
class ProcessExitedException : public Error {
 public:
  /// @param exit how it ended
  explicit ProcessExitedException(WorkerExit exit);
  /// With a text that says more than how it ended.
  ProcessExitedException(WorkerExit exit, const std::string& text);
  /// The process that is gone.
  Pid pid() const { return exit_->pid; }
  /// How it ended.
  const WorkerExit& exit() const { return *exit_; }

 private:
  std::shared_ptr<const WorkerExit> exit_;
};

/// A peer could not be admitted.
class HandshakeError : public Error {
 public:
  using Error::Error;
};
/// Two different builds of the program met.
class CodeMismatch : public HandshakeError {
 public:
  using HandshakeError::HandshakeError;
};
/// The peer does not know the cluster's cookie.
class AuthError : public HandshakeError {
 public:
  using HandshakeError::HandshakeError;
};
/// The peer speaks another version of the protocol.
class VersionMismatch : public HandshakeError {
 public:
  using HandshakeError::HandshakeError;
};
/// A closure holds an address of this process's memory.
class UnsafeCapture : public Error {
 public:
  using Error::Error;
};
/// A value can't be written into a message, or a message can't be read.
class SerializationError : public Error {
 public:
  using Error::Error;
};
/// The channel is closed.
class ChannelClosed : public Error {
 public:
  using Error::Error;
};
/// A deadline or a duration ran out.
class TimeoutError : public Error {
 public:
  using Error::Error;
};
/// The task was cancelled.
class CancelledError : public Error {
 public:
  using Error::Error;
};
/// The task was stopped by `interrupt`.
class InterruptedError : public Error {
 public:
  using Error::Error;
};
/// There is no session.
class NoSession : public Error {
 public:
  using Error::Error;
};

/// Why a worker could not be started.
enum class LaunchCause { not_started, exited, no_address_line, too_much_output, handshake };

/// One worker that could not be started.
struct LaunchFailure {
  std::string where = {};                        ///< machine, or what the manager calls the place
  LaunchCause cause = LaunchCause::not_started;  ///< at which step
  std::optional<int> exit_status = {};           ///< of its process, where it ended by itself
  std::optional<int> signal = {};                ///< that ended its process, where one did
  std::string output = {};                       ///< what the process printed
  std::string message = {};                      ///< what happened and what to do
  std::exception_ptr error = {};                 ///< the specific exception
};

/// Some workers of an addprocs could not be started.
class LaunchError : public Error {
 public:
  /// @param failures at least one  @param joined those that did join
  LaunchError(std::vector<LaunchFailure> failures, std::vector<Pid> joined);
  /// One for each worker that could not be started.
  const std::vector<LaunchFailure>& failures() const { return data_->failures; }
  /// Those that did join, sorted. They stay.
  const std::vector<Pid>& joined() const { return data_->joined; }

 private:
  struct Data {
    std::vector<LaunchFailure> failures;
    std::vector<Pid> joined;
  };
  std::shared_ptr<const Data> data_;
};

}  // namespace muster
