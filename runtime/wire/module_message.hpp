/// @file
/// What the message that brings a module holds.
#pragma once

#include "runtime/code/module_image.hpp"

#include <muster/detail/payload.hpp>

namespace muster::runtime {

/// The message's contents; its one part is the module's file, which is not copied.
detail::Payload encode(const ModuleImage& image);

/// Reads them.
/// @param id of the module that was asked for
/// @throws SerializationError for anything that is not that module: no shared library for this machine, cut short,
/// another build-id
ModuleImage decode_module(std::uint64_t id, const detail::Payload& payload);

}  // namespace muster::runtime
