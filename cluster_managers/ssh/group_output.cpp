#include "cluster_managers/ssh/group_output.hpp"

#include <muster/errors.hpp>

#include <cstdint>
#include <cstring>

namespace muster::runtime::ssh {

namespace {

using Kind = GroupFrame::Kind;

/// What is no whole line by then is none of the leader's.
constexpr std::size_t longest_line = std::size_t{64} * 1024;

}  // namespace

void GroupOutput::take(std::string_view text) {
  part_ += text;
  std::size_t taken = 0;
  for (std::size_t more = 1; more > 0; taken += more) {
    const std::string_view rest = std::string_view(part_).substr(taken);
    more = greeted_ ? take_frame(rest) : take_line(rest, false);
  }
  part_.erase(0, taken);
}

void GroupOutput::end() {
  if (!greeted_) (void)take_line(part_, true);
  part_.clear();
}

/// @returns how much was taken
std::size_t GroupOutput::take_line(std::string_view text, bool is_last) {
  const auto newline = text.find('\n');
  if (newline == std::string_view::npos && text.size() < longest_line && !is_last) return 0;
  std::string_view line = text.substr(0, newline == std::string_view::npos ? newline : newline + 1);
  const std::size_t size = line.size();
  greeted_ = line.ends_with(worker_group_greeting);
  if (greeted_) line.remove_suffix(worker_group_greeting.size());
  for (const auto& worker : workers_) worker->take(RemoteWorker::output, line);
  return size;
}

/// @returns how much was taken
std::size_t GroupOutput::take_frame(std::string_view text) {
  GroupFrame frame{};
  if (text.size() < sizeof frame) return 0;
  std::memcpy(&frame, text.data(), sizeof frame);
  std::int32_t status = 0;
  const bool ends = frame.kind == Kind::ended && frame.size == sizeof status;
  const bool prints = (frame.kind == Kind::output || frame.kind == Kind::errors) && frame.size <= GroupFrame::longest;
  if (frame.worker >= workers_.size() || !(ends || prints))
    throw Error("what came from its workers is nothing that this program says");
  if (text.size() < sizeof frame + frame.size) return 0;
  const std::string_view content = text.substr(sizeof frame, frame.size);
  RemoteWorker& worker = *workers_[frame.worker];
  if (ends) {
    std::memcpy(&status, content.data(), sizeof status);
    worker.exited(status);
    worker.close(RemoteWorker::output);
    worker.close(RemoteWorker::errors);
  } else {
    worker.take(frame.kind == Kind::output ? RemoteWorker::output : RemoteWorker::errors, content);
  }
  return sizeof frame + frame.size;
}

}  // namespace muster::runtime::ssh
