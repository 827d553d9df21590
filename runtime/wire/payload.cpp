#include <muster/detail/payload.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <new>

namespace muster::detail {

void ByteBuffer::grow(std::size_t n) {
  const std::size_t larger_capacity = std::max(capacity() * 2, size_ + n);
  std::unique_ptr<std::byte[]> larger = std::make_unique_for_overwrite<std::byte[]>(larger_capacity);
  if (size_ != 0) std::memcpy(larger.get(), data(), size_);
  heap_ = std::move(larger);
  std::memcpy(inline_, &larger_capacity, sizeof larger_capacity);
}

void prefer_huge_pages(void* memory, std::size_t size) noexcept {
  constexpr std::uintptr_t page = std::uintptr_t{2} << 20;
  const auto begin = (reinterpret_cast<std::uintptr_t>(memory) + page - 1) & ~(page - 1);
  const auto end = (reinterpret_cast<std::uintptr_t>(memory) + size) & ~(page - 1);
  if (begin < end) (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

std::shared_ptr<std::byte> fresh_memory(std::size_t size, std::size_t alignment) {
  const std::align_val_t aligned{std::max(alignment, part_alignment)};
  std::shared_ptr<std::byte> memory(static_cast<std::byte*>(::operator new(size, aligned)),
                                    [aligned](std::byte* made) { ::operator delete(made, aligned); });
  if (size >= huge_from) prefer_huge_pages(memory.get(), size);
  return memory;
}

std::size_t Payload::total_size() const {
  std::size_t size = bytes.size();
  for (const Part& part : parts) size += part.size;
  return size;
}

void Payload::add_module(std::uint64_t module) {
  for (const auto& handle : handles)
    if (handle->kind() == HandleKind::module && handle->id().number == module) return;
  handles.push_back(std::make_shared<Handle>(HandleKind::module, RemoteRefId{0, module}, 0));
}

void Payload::await() {
  for (Part& part : parts) {
    if (part.arriving != nullptr) part.arriving->await(part.data + part.size);
    part.arriving = nullptr;
  }
}

void Payload::own() {
  for (Part& part : parts) {
    if (part.owner) continue;
    auto copy = fresh_memory(part.size);
    if (part.size != 0) std::memcpy(copy.get(), part.data, part.size);
    part.data = copy.get();
    part.owner = std::move(copy);
  }
}

}  // namespace muster::detail
