// A set of address ranges that are merged where they meet, found by place or by size.
#pragma once
#include <cstddef>
#include <map>
#include <set>
#include <utility>

namespace dl {

struct Range {
  char* begin = nullptr;
  size_t size = 0;

  char* end() const { return begin + size; }
  explicit operator bool() const { return size != 0; }
};

class Ranges {
 public:
  void insert(Range r) {
    if (!r) return;
    auto next = by_place_.lower_bound(r.begin);
    if (next != by_place_.end() && next->first == r.end()) {
      r.size += next->second;
      next = drop(next);
    }
    if (next != by_place_.begin()) {
      const auto before = std::prev(next);
      if (before->first + before->second == r.begin) {
        r = {before->first, before->second + r.size};
        drop(before);
      }
    }
    by_place_.emplace(r.begin, r.size);
    by_size_.emplace(r.size, r.begin);
  }

  // Takes out a part of one range.
  void remove(Range part) {
    const auto at = std::prev(by_place_.upper_bound(part.begin));
    const Range whole{at->first, at->second};
    drop(at);
    insert({whole.begin, static_cast<size_t>(part.begin - whole.begin)});
    insert({part.end(), static_cast<size_t>(whole.end() - part.end())});
  }

  Range smallest(size_t least) const {  // of at least so many bytes; of several, the one at the lowest place
    const auto at = by_size_.lower_bound({least, nullptr});
    return at == by_size_.end() ? Range{} : Range{at->second, at->first};
  }
  Range largest() const {
    return by_size_.empty() ? Range{} : Range{by_size_.rbegin()->second, by_size_.rbegin()->first};
  }
  Range ending_at(char* end) const {
    auto at = by_place_.lower_bound(end);
    if (at == by_place_.begin()) return {};
    --at;
    return at->first + at->second == end ? Range{at->first, at->second} : Range{};
  }
  const std::map<char*, size_t>& by_place() const { return by_place_; }

 private:
  using ByPlace = std::map<char*, size_t>;
  ByPlace::iterator drop(ByPlace::iterator at) {
    by_size_.erase({at->second, at->first});
    return by_place_.erase(at);
  }

  ByPlace by_place_;
  std::set<std::pair<size_t, char*>> by_size_;
};

}  // namespace dl
