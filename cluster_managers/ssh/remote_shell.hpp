/// @file
/// Scripts for the shells of other hosts.
#pragma once

#include <string>
#include <string_view>

namespace muster::runtime::ssh {

/// The command that runs a script which comes as the first line of its standard input; the rest is left to what the
/// script starts. So nothing of a script is in a command line, which others there could read, nor passes through the
/// user's login shell, whichever that is.
inline constexpr const char* script_runner = R"(exec /bin/sh -c 'IFS= read -r line; eval "$line"')";

/// What a script says where it goes on with another one: the next line of its standard input.
inline constexpr std::string_view waits_for_another = "\nmuster_waits=\n";
/// The commands with which it says so and goes on.
inline constexpr const char* run_another = R"(echo; echo muster_waits=; IFS= read -r line; eval "$line")";

/// A text as one word of a script, which stays one line whatever the text.
std::string quoted(const std::string& text);

/// Commands with such words in them, as a script.
std::string script_of(const std::string& commands);

}  // namespace muster::runtime::ssh
