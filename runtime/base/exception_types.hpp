/// @file
/// The exception types that travel as themselves: the standard ones, muster's own, and those the user registered.
#pragma once

#include "runtime/base/failure.hpp"

#include <muster/detail/exception_codec.hpp>

#include <optional>
#include <string_view>

namespace muster::runtime {

/// How to take apart and put together a standard exception or one of muster's own that holds no further exceptions.
/// @param type mangled name of the dynamic type
/// @returns null for any other type
const detail::ExceptionCodec* built_in_codec(std::string_view type);

/// The same, for these and the registered ones.
std::optional<detail::ExceptionCodec> codec_of(std::string_view type);

/// The exception that was thrown there, where its type is known here and it could be made again; else null.
std::exception_ptr original_exception(const detail::RemoteFailure& failure);

}  // namespace muster::runtime
