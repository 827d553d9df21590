/// @file
/// How a process that has not the master's program gets it, before it becomes a worker: what `muster-worker` does.
///
/// It asks for the list of the program's files, then for their contents, by parts. Each question is proved with the
/// cookie, as a knock is, and each answer over the question's nonce: so the master gives its program to nobody else,
/// and nobody else's is run. Neither side keeps anything for the other: a lost connection costs the parts under way.
#pragma once

#include "runtime/base/program_files.hpp"
#include "runtime/cluster/handshake.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace muster::runtime {

/// In place of a file's number: the list of them.
inline constexpr std::uint32_t list_of_files = 0xffffffffU;
/// Bytes of a part; the last of a file may be shorter.
inline constexpr std::uint64_t program_part_size = std::uint64_t{1} << 20;

struct ProgramRequest {
  std::string ticket;  ///< of the invitation
  std::uint32_t file = list_of_files;
  std::uint64_t offset = 0;  ///< in that file
  Nonce nonce{};
  std::array<std::byte, 32> proof{};
};

struct ProgramPart {
  std::uint32_t file = list_of_files;
  std::uint64_t offset = 0;
  std::array<std::byte, 32> proof{};
  std::vector<std::byte> contents;
};

/// One of the files.
struct ListedFile {
  ProgramFile file;  ///< on its way without its source
  ContentHash contents;
};

/// What the master's program is, and how a worker of it is started.
struct ProgramList {
  std::string system;                              ///< see system_here
  std::vector<std::string> arguments;              ///< behind the program
  std::map<std::string, std::string> environment;  ///< to be added
  std::vector<ListedFile> files;                   ///< the program first
};

/// Fills in nonce and proof.
void seal(ProgramRequest& request, const std::string& cookie);
void seal(ProgramPart& part, const Nonce& nonce, const std::string& cookie);
/// @throws AuthError
void verify(const ProgramRequest& request, const std::string& cookie);
void verify(const ProgramPart& part, const Nonce& nonce, const std::string& cookie);

detail::Payload encode(const ProgramRequest& request);
detail::Payload encode(const ProgramPart& part);
detail::Payload encode(const ProgramList& list);
/// @throws VersionMismatch, before anything else is looked at; SerializationError
ProgramRequest decode_program_request(std::span<const std::byte> bytes);
ProgramPart decode_program_part(std::span<const std::byte> bytes);
ProgramList decode_program_list(std::span<const std::byte> bytes);

/// The files of this process's own program. Reads all of them: takes a second or so where they are large.
/// @param program its path
std::vector<ListedFile> list_program_files(const std::string& program);
/// Contents of a file of this program from there on, a part at most. @throws Error where there is nothing
std::vector<std::byte> read_program_part(const std::vector<ListedFile>& files, std::uint32_t file,
                                         std::uint64_t offset);

}  // namespace muster::runtime
