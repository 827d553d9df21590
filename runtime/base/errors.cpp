/// @file
/// What the exceptions say.
#include "runtime/base/exception_types.hpp"
#include "runtime/base/failure.hpp"

#include <muster/errors.hpp>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <utility>

namespace muster {
namespace {

/// `SIGKILL: killed, perhaps by the out-of-memory killer`, or nothing for a signal without a name.
std::string signal_meaning(int signal) {
  const char* name = sigabbrev_np(signal);
  if (name == nullptr) return {};
  const std::string text = std::string("SIG") + name + ": ";
  switch (signal) {
    case SIGKILL: return text + "killed, perhaps by the out-of-memory killer";
    case SIGTERM: return text + "asked to end, by somebody other than muster";
    case SIGSEGV: return text + "it used memory that is not its own";
    case SIGABRT: return text + "abort() or std::terminate was called";
    default: break;
  }
  const char* meaning = sigdescr_np(signal);
  return text + (meaning != nullptr ? meaning : "unknown");
}

std::string how_ended(const std::optional<int>& exit_status, const std::optional<int>& signal) {
  if (signal) {
    const std::string meaning = signal_meaning(*signal);
    return "was ended by signal " + std::to_string(*signal) + (meaning.empty() ? "" : " (" + meaning + ")");
  }
  if (exit_status) return "exited with status " + std::to_string(*exit_status);
  return {};
}

/// Text without the newlines at its end.
std::string_view trimmed(std::string_view text) {
  const std::size_t end = text.find_last_not_of(" \n\r\t");
  return end == std::string_view::npos ? std::string_view() : text.substr(0, end + 1);
}

/// Output of a process as the end of a sentence: behind it where it is one line, else below and set off.
std::string quoted_output(std::string_view output) {
  output = trimmed(output);
  if (output.find('\n') == std::string_view::npos) return " " + std::string(output);
  std::string text = "\n";
  for (std::size_t start = 0; start <= output.size();) {
    const std::size_t end = std::min(output.find('\n', start), output.size());
    text.append("    ").append(output.substr(start, end - start)).append("\n");
    start = end + 1;
  }
  text.pop_back();
  return text;
}

std::string composite_text(const std::vector<std::exception_ptr>& exceptions) {
  if (exceptions.empty()) return "no exceptions";
  std::string text = runtime::message_of(exceptions.front());
  if (exceptions.size() > 1) text += "\n...and " + std::to_string(exceptions.size() - 1) + " more exceptions.";
  return text;
}

const char* cause_text(LaunchCause cause) {
  switch (cause) {
    case LaunchCause::not_started: return "it could not be started";
    case LaunchCause::exited: return "it ended before it said where it listens";
    case LaunchCause::no_address_line: return "it did not say where it listens in time";
    case LaunchCause::too_much_output: return "it wrote too many other lines before saying where it listens";
    case LaunchCause::handshake: return "it was not admitted";
  }
  return "unknown cause";
}

std::string failure_text(const LaunchFailure& failure) {
  std::string text = failure.where.empty() ? "somewhere" : failure.where;
  text += std::string(": ") + cause_text(failure.cause);
  const std::string reason =
      failure.message.empty() && failure.error ? runtime::message_of(failure.error) : failure.message;
  const auto is_told = [&](const std::string& part) { return reason.find(part) != std::string::npos; };
  if (const std::string end = how_ended(failure.exit_status, failure.signal); !end.empty() && !is_told(end))
    text += "; it " + end;
  if (!reason.empty()) text += "; " + reason;
  if (!trimmed(failure.output).empty() && !is_told(quoted_output(failure.output)))
    text += "; its output:" + quoted_output(failure.output);
  return text;
}

std::string launch_text(const std::vector<LaunchFailure>& failures, const std::vector<Pid>& joined) {
  std::string text =
      std::to_string(failures.size()) + (failures.size() == 1 ? " worker" : " workers") + " could not be started";
  if (!joined.empty()) {
    text += " (" + std::to_string(joined.size()) + " joined and " + (joined.size() == 1 ? "stays" : "stay") + ": ";
    for (const Pid pid : joined) text += (pid == joined.front() ? "" : ", ") + std::to_string(pid);
    text += ")";
  }
  text += ":";
  for (const LaunchFailure& failure : failures) text += "\n  " + failure_text(failure);
  return text;
}

}  // namespace

std::string WorkerExit::describe() const {
  std::string text = "worker " + std::to_string(pid);
  if (!host.empty()) text += " on host " + host;
  if (const std::string end = how_ended(exit_status, signal); !end.empty()) {
    text += " " + end;
    if (expected) text += ", as it was asked to leave";
  } else {
    text += expected        ? " has left, as it was asked to"
            : cause.empty() ? " is gone: its connection was lost, and how it ended is not known"
                            : " is gone";
  }
  if (!cause.empty()) text += ": " + cause;
  if (!trimmed(last_output).empty()) text += "; its last output:" + quoted_output(last_output);
  if (calls_in_flight > 0) {
    text += last_output.find('\n') < trimmed(last_output).size() ? "\n" : "; ";
    text += std::to_string(calls_in_flight) + (calls_in_flight == 1 ? " call was" : " calls were") + " in flight";
  }
  return text;
}

RemoteException::RemoteException(std::shared_ptr<const detail::RemoteFailure> failure)
    : Error(failure->text()), failure_(std::move(failure)) {}

Pid RemoteException::pid() const { return failure_->pid; }

const std::string& RemoteException::type_name() const { return failure_->type_name; }

const std::string& RemoteException::message() const { return failure_->message; }

const std::string& RemoteException::backtrace() const { return failure_->backtrace; }

bool RemoteException::is_type(const std::type_info& type) const {
  // By name: the type is another process's, and two modules of this one may each have their own type_info for it.
  const char* name = type.name();
  return std::any_of(failure_->caught_as.begin(), failure_->caught_as.end(),
                     [&](const auto& known) { return known == name; });
}

void RemoteException::rethrow_cause() const {
  if (const std::exception_ptr cause = runtime::original_exception(*failure_)) std::rethrow_exception(cause);
  throw *this;
}

CompositeException::CompositeException(std::vector<std::exception_ptr> exceptions)
    : Error(composite_text(exceptions)),
      exceptions_(std::make_shared<const std::vector<std::exception_ptr>>(std::move(exceptions))) {}

ProcessExitedException::ProcessExitedException(WorkerExit exit, const std::string& text)
    : Error(text), exit_(std::make_shared<const WorkerExit>(std::move(exit))) {}

ProcessExitedException::ProcessExitedException(WorkerExit exit)
    : Error(exit.describe()), exit_(std::make_shared<const WorkerExit>(std::move(exit))) {}

LaunchError::LaunchError(std::vector<LaunchFailure> failures, std::vector<Pid> joined)
    : Error(launch_text(failures, joined)),
      data_(std::make_shared<const Data>(Data{std::move(failures), std::move(joined)})) {}

}  // namespace muster

namespace muster::detail {

std::string RemoteFailure::text() const {
  std::string text = "On worker " + std::to_string(pid) + ": ";
  text += type_name;
  if (!message.empty()) text += ": " + message;
  if (!backtrace.empty()) text += "\n" + backtrace;
  return text;
}

}  // namespace muster::detail
