#include "runtime/calls/module_exchange.hpp"

#include "runtime/base/host_name.hpp"
#include "runtime/base/log.hpp"
#include "runtime/code/modules.hpp"
#include "runtime/wire/module_message.hpp"

#include <muster/errors.hpp>

#include <algorithm>
#include <utility>

namespace muster::runtime {

using detail::Payload;

namespace {

std::string place(Pid self) { return "process " + std::to_string(self) + " (host " + host_name() + ")"; }

}  // namespace

ModuleExchange::ModuleExchange(Outside outside)
    : outside_(std::move(outside)), arrivals_([](std::uint64_t module) { return modules().has(module); }) {}

void ModuleExchange::stop() { thread_.stop(); }

// -- modules for this process -----------------------------------------------------------------------------------------

void ModuleExchange::want(std::uint64_t module, std::vector<Pid> holders) {
  const Pid self = outside_.self();
  holders.push_back(1);
  std::erase_if(holders, [&](Pid pid) { return pid == self || pid <= 0; });
  ModuleArrivals::Actions actions;
  {
    const std::lock_guard lock(mutex_);
    actions = arrivals_.want(module, holders);
  }
  perform(std::move(actions));
}

bool ModuleExchange::coming(std::uint64_t module) const {
  const std::lock_guard lock(mutex_);
  return arrivals_.coming(module);
}

std::string ModuleExchange::why_missing(std::uint64_t module) const {
  const std::lock_guard lock(mutex_);
  return arrivals_.failure(module);
}

void ModuleExchange::when_settled(std::uint64_t module, std::function<void()> f) {
  {
    const std::lock_guard lock(mutex_);
    if (arrivals_.coming(module)) {
      waiting_[module].push_back(std::move(f));
      return;
    }
  }
  f();
}

void ModuleExchange::perform(ModuleArrivals::Actions&& actions) {
  for (const auto& each : actions.settled) tell(each);
  for (const std::uint64_t module : actions.load) thread_.run([this, module] { load(module); });
  for (const auto& each : actions.ask) ask(each);
  answer_askers();
}

void ModuleExchange::ask(const ModuleArrivals::Actions::Ask& ask) {
  try {
    outside_.send(ask.whom, Header{.kind = MessageKind::module_request, .number = ask.module}, {});
  } catch (const std::exception& error) {
    unsent(ask.module, ask.whom, error.what());
  }
}

void ModuleExchange::load(std::uint64_t module) {
  ModuleImage image;
  {
    const std::lock_guard lock(mutex_);
    image = arrived_.at(module);
  }
  std::string failure;
  try {
    load_image(module, image);
    log::debug("Loaded the module " + image.name + " (" + std::to_string(image.bytes.size()) + " bytes)");
  } catch (const std::exception& error) {
    failure = "the module " + image.name + " can't be loaded on " + place(outside_.self()) + ": " + error.what() +
              ". A library that it needs must be there first: load it with muster::load_module(library, {.global = "
              "true}) before this one, or install it on that host";
  }
  ModuleArrivals::Actions actions;
  {
    const std::lock_guard lock(mutex_);
    if (failure.empty()) arrived_.erase(module);
    actions = failure.empty() ? arrivals_.loaded(module) : arrivals_.load_failed(module, failure);
  }
  perform(std::move(actions));
}

void ModuleExchange::tell(const ModuleArrivals::Actions::Settled& settled) {
  if (!settled.failure.empty()) log::debug("A module did not come: " + settled.failure);
  std::vector<std::function<void()>> waiting;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = waiting_.extract(settled.module); !found.empty()) waiting = std::move(found.mapped());
  }
  for (const auto& f : waiting) f();
  outside_.settled();
}

void ModuleExchange::on_module(std::uint64_t module, Pid from, std::uint8_t flags, const Payload& payload) {
  {
    const std::lock_guard lock(mutex_);
    if (!arrivals_.expects(module, from)) throw SerializationError("A module came that was not asked for");
  }
  ModuleArrivals::Actions actions;
  if (flags == module_refused) {
    FieldReader in(payload.bytes.bytes());
    const std::string why = in.text();
    in.finish();
    const std::lock_guard lock(mutex_);
    actions = arrivals_.refused(module, from, why);
  } else if (flags == 0) {
    ModuleImage image = decode_module(module, payload);
    const std::lock_guard lock(mutex_);
    const auto& kept = arrived_[module] = std::move(image);
    actions = arrivals_.arrived(module, kept.needs);
  } else {
    throw SerializationError("A module is neither given nor refused");
  }
  perform(std::move(actions));
}

void ModuleExchange::gone(Pid pid, const std::string& why) {
  ModuleArrivals::Actions actions;
  {
    const std::lock_guard lock(mutex_);
    actions = arrivals_.gone(pid, why);
  }
  perform(std::move(actions));
}

void ModuleExchange::unsent(std::uint64_t module, Pid to, const std::string& why) {
  ModuleArrivals::Actions actions;
  {
    const std::lock_guard lock(mutex_);
    actions = arrivals_.refused(module, to, why);
  }
  perform(std::move(actions));
}

// -- modules for others -----------------------------------------------------------------------------------------------

void ModuleExchange::on_request(std::uint64_t module, Pid from) {
  {
    // Who passes on a call may itself still be waiting for its code.
    const std::lock_guard lock(mutex_);
    if (arrivals_.worth_waiting_for(module) && !arrivals_.expects(module, from)) {
      asking_[module].push_back(from);
      return;
    }
  }
  thread_.run([this, module, from] { give(module, from); });
}

void ModuleExchange::answer_askers() {
  const std::lock_guard lock(mutex_);
  for (auto asking = asking_.begin(); asking != asking_.end();) {
    const auto current = asking++;
    const auto module = current->first;
    if (arrivals_.worth_waiting_for(module)) continue;
    for (const Pid pid : current->second) thread_.run([this, module, pid] { give(module, pid); });
    asking_.erase(current);
  }
}

std::shared_ptr<const ModuleImage> ModuleExchange::image_of(std::uint64_t module) {
  if (const auto found = given_.find(module); found != given_.end())
    if (auto image = found->second.lock()) return image;
  auto image = std::make_shared<const ModuleImage>(read_module(module));
  given_[module] = image;
  return image;
}

void ModuleExchange::give(std::uint64_t module, Pid to) {
  Header header{.kind = MessageKind::module, .number = module};
  const auto send = [&](Payload&& payload) {
    try {
      outside_.send(to, header, std::move(payload));
    } catch (const SerializationError&) {  // it exceeds max_message
      throw;
    } catch (const std::exception& error) {  // who asked is gone
      log::debug("A module for process " + std::to_string(to) + " was not sent: " + error.what());
    }
  };
  try {
    const auto image = image_of(module);
    Payload payload = encode(*image);
    payload.parts.front().owner = image;
    send(std::move(payload));
  } catch (const std::exception& error) {
    header.flags = module_refused;
    Payload payload;
    FieldWriter(payload.bytes).text(error.what());
    send(std::move(payload));
  }
}

}  // namespace muster::runtime
