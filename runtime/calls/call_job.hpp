/// @file
/// A call of another process, or of this one to itself, as a job.
#pragma once

#include "runtime/calls/calls.hpp"

namespace muster::runtime {

/// @par Thread safety
/// Completed once; a second completion (a task that was cancelled as it ended) is ignored.
class CallJob final : public Job, public detail::TaskRun, public TaskState {
 public:
  CallJob(Calls& calls, Pid caller, std::uint64_t number, detail::Returns returns, const void* code, Receipt&& receipt,
          std::optional<Clock::time_point> deadline);
  ~CallJob() override;

  // Job
  void run() noexcept override;
  TaskState* task() override { return this; }

  // TaskState
  std::shared_ptr<TaskState> shared_state() override { return {shared_from_this(), static_cast<TaskState*>(this)}; }

  // TaskRun
  const detail::Payload& arguments() override { return arguments_; }
  void arguments_done() override;
  void complete(detail::Payload&& result) override;
  void fail(const std::exception_ptr& failure) override;

  Pid caller() const { return caller_; }
  std::uint64_t number() const { return number_; }
  RemoteRefId reference() const { return {caller_, number_}; }
  detail::Returns returns() const { return returns_; }
  /// The answer may come together with the next ones. Set before it is submitted.
  bool unhurried = false;
  /// Code that it needs is on its way; whoever takes this back decides whether it runs.
  std::atomic<bool> held{false};
  /// What says that its arguments were consumed. Before it is submitted.
  Receipt take_receipt() { return std::move(receipt_); }
  /// Where it came from; null: from this process, or it was held back.
  const std::shared_ptr<Link>& link() const { return receipt_.link(); }
  /// Before it is submitted. None at first.
  void set_arguments(detail::Payload&& arguments) { arguments_ = std::move(arguments); }
  void set_arguments(std::span<const std::byte> bytes) { arguments_.bytes.append(bytes.data(), bytes.size()); }
  /// Before it is submitted.
  void set_code(const void* code) { code_ = code; }
  /// Somebody besides the caller got a handle of the result. Guarded by the calls' tasks_mutex_.
  bool keep = false;

 private:
  Calls& calls_;
  const Pid caller_;
  const std::uint64_t number_;
  const detail::Returns returns_;
  const void* code_;
  detail::Payload arguments_;
  Receipt receipt_;
  std::atomic<bool> ended_{false};
};

inline RemoteRefId Calls::TaskKeys::of(const CallJob& job) { return job.reference(); }

}  // namespace muster::runtime
