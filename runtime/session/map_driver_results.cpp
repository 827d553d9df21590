// What comes back from a map's elements: results and failures.
#include "runtime/base/failure.hpp"
#include "runtime/session/map_driver.hpp"

#include <muster/errors.hpp>

namespace muster::runtime {

using detail::InputArchive;
using detail::Payload;

namespace {

std::exception_ptr nobody_for(std::size_t element) {
  return std::make_exception_ptr(Error("No active worker available in pool: element " + std::to_string(element) +
                                       " of a pmap can't be run, because every process it could run on has ended"));
}

}  // namespace

// -- results ----------------------------------------------------------------------------------------------------------

void MapDriver::delivered(std::size_t count) {
  delivered_ += count;
  if (progress_) progress_->advance(count);
}

void MapDriver::unit_delivered(Units::iterator found) {
  const auto id = found->first;
  const Unit unit = std::move(found->second);
  units_.erase(found);
  const Payload payload = unit.call->take_payload();
  if (unit.count > 1) {
    batch_delivered(id, unit, payload);
  } else {
    std::exception_ptr unreadable;
    try {
      work_.deliver_alone(unit.first, payload);
      delivered(1);
    } catch (const Error&) {
      unreadable = std::current_exception();
    }
    if (unreadable) element_failed(id, unit.first, unreadable);
  }
  (void)schedule_.completed(id, Clock::now());
}

void MapDriver::batch_delivered(MapUnitId id, const Unit& unit, const Payload& results) {
  InputArchive archive(results);
  std::exception_ptr unreadable;
  for (std::size_t element = unit.first; element < unit.first + unit.count; ++element) {
    std::exception_ptr failure = unreadable;
    try {
      if (!unreadable && detail::decode<bool>(archive)) {
        work_.deliver(element, archive);
        (void)schedule_.delivered(id, element);
        delivered(1);
        continue;
      }
      if (!unreadable) failure = decode_failure(detail::decode<std::vector<std::byte>>(archive));
    } catch (const Error&) {  // and so is what comes behind it
      failure = unreadable = std::current_exception();
    }
    element_failed(id, element, failure);
  }
}

void MapDriver::unit_failed(Units::iterator found) {
  const auto id = found->first;
  const Unit unit = std::move(found->second);
  units_.erase(found);
  const auto failure = unit.call->failure();
  try {
    std::rethrow_exception(failure);
  } catch (const ProcessExitedException& gone) {
    if (gone.pid() == unit.worker) {
      units_.emplace(id, unit);  // as all that it had
      worker_died(unit.worker, gone.exit());
      return;
    }
  } catch (const NoSession&) {
    throw;
  } catch (const RemoteException& error) {
    // What the elements threw came one by one: their results together are too large.
    if (unit.count > 1 && error.is<SerializationError>()) {
      schedule_.split(id, true, Clock::now());
      return;
    }
  } catch (...) {  // NOLINT(bugprone-empty-catch): any other is a failure of its elements, as said below
  }
  for (std::size_t element = unit.first; element < unit.first + unit.count; ++element)
    element_failed(id, element, failure);
  (void)schedule_.completed(id, Clock::now());
}

// -- failures ---------------------------------------------------------------------------------------------------------

void MapDriver::element_failed(MapUnitId unit, std::size_t element, const std::exception_ptr& failure) {
  if (const auto attempt = schedule_.failed(unit, element)) settle_failure(element, *attempt, failure);
}

void MapDriver::settle_failure(std::size_t element, int attempt, const std::exception_ptr& failure) {
  if (attempt > 0 && work_.retries(attempt, failure)) {
    schedule_.retry(element, Clock::now());
    return;
  }
  if (!work_.replace(element, failure)) std::rethrow_exception(failure);
  schedule_.final_failure(element);
  delivered(1);
}

void MapDriver::fail(const MapFailure& failure) {
  settle_failure(failure.element, failure.attempt,
                 failure.deaths.empty() ? nobody_for(failure.element) : death_of(failure));
}

std::exception_ptr MapDriver::death_of(const MapFailure& failure) const {
  std::string text;
  if (failure.reason == MapFailure::Reason::no_worker) {
    text = "No active worker available in pool: element " + std::to_string(failure.element) +
           " of a pmap can't be run again after the end of the process that had it: ";
  } else {
    text = "Element " + std::to_string(failure.element) + " of a pmap ended the process that ran it" +
           (failure.deaths.size() == 1 ? ": " : " each time: ");
  }
  WorkerExit last;
  for (std::size_t i = 0; i < failure.deaths.size(); ++i) {
    const Pid pid = failure.deaths[i];
    text += (i == 0 ? "process " : ", then process ") + std::to_string(pid);
    last.pid = pid;
    if (const auto exit = exits_.find(pid); exit != exits_.end()) last = exit->second;
  }
  text += ". The last of them: " + last.describe();
  return std::make_exception_ptr(ProcessExitedException(last, text));
}

}  // namespace muster::runtime
