"""The grammar of the programs: what they run over, what they do, and what they do at the end.

A rule is `@ topic | name | weight | slots`, then code, then the words for it:

    {x}        a slot: an argument, a local name, or a part drawn from `parts`; see `draft`
    `1:a|b`    one of several, the same one wherever the label 1 stands
    2=0?       a line that stands only where the label 2 came out as 0
    --         the same program, written in another way
    => {r}     returns {r}, perhaps after one more step
    = kind |   what is returned, a noun phrase; `? ` what is tested, a clause behind "whether"
    .  ..      a further sentence; with two dots it is left out half of the time

In words, {P} says what holds of one element ("is even") and {P~} which elements those are ("even
numbers"); {M} what is made of one ("square") and {V} what all of them are made into ("squares of
the even numbers in nums").

Topics and weights follow aggregated shares of loops, branches, guards and so on in HumanEval's
solutions (docs/synthesis.md). No problem of a benchmark was looked at.
"""

# What programs run over: name | weight | element | slots | setup | expression | words | where
SOURCES = """
list | 14 | int | A:ints | | {A} | `a:numbers|integers|elements|values` | in {A}
list | 5 | float | A:floats | | {A} | `a:numbers|values` | in {A}
list | 8 | str | A:strs | | {A} | `a:words|strings|elements` | in {A}
text | 8 | char | A:str | | {A} | `a:characters|characters|letters` | in {A}
digits | 2 | int | A:natural | {d} = [int(d) for d in str(abs({A}))] | {d} | digits | of {A}
digits | 1 | int | A:natural | {d} = list(map(int, str(abs({A})))) | {d} | digits | of {A}
range | 2 | int | A:natural | | range(1, {A} + 1) | `a:integers|numbers` | from 1 to {A}
range | 1 | int | A:natural | | range({A}) | integers | from 0 up to but not including {A}
range | 1 | int | A:natural | | range({A} + 1) | numbers | between 0 and {A}
range | 1 | int | A:natural | | range(1, {A}) | numbers | that are at least 1 and less than {A}
between | 1.5 | int | A:k;B:natural | | range({A}, {B} + 1) | integers | from {A} to {B} inclusive
values | 1 | int | A:counts | | {A}.values() | values | of {A}
keys | 1 | str | A:counts | | `a:{A}|{A}.keys()` | keys | of {A}
tuple | 1 | int | A:tuple | | {A} | numbers | in {A}
first | 1 | int | A:ints;K:1-4 | | {A}[:{K}] | numbers | among the first {K} of {A}
skip | 1 | int | A:ints;K:1-3 | | {A}[{K}:] | elements | of {A} after the first {K}
last | 1 | str | A:strs;K:1-4 | | {A}[-{K}:] | words | among the last {K} of {A}
even | 0.7 | int | A:ints | | {A}[::2] | elements | at even positions of {A}
odd | 0.7 | int | A:ints | | {A}[1::2] | elements | at odd positions of {A}
skip | 1 | char | A:str;K:1-3 | | {A}[{K}:] | characters | of {A} after the first {K}
back | 1 | char | A:str | | `a:{A}[::-1]|reversed({A})` | characters | of {A} from right to left
words | 3 | str | A:str | | {A}.split() | words | of {A}
words | 2 | str | A:str | {d} = {A}.split() | {d} | words | in {A}
fields | 2 | str | A:str;Z | {d} = {A}.split({Z}) | {d} | parts | of {A} separated by {Z}
letters | 1 | char | A:str | {d} = sorted(set({A})) | {d} | distinct characters | of {A}
lower | 1 | char | A:str | {d} = {A}.lower() | {d} | letters | of {A} in lower case
distinct | 1 | int | A:ints | {d} = sorted(set({A})) | {d} | distinct numbers | in {A}
ordered | 1 | int | A:ints | {d} = sorted({A}) | {d} | numbers | of {A} in sorted order
lengths | 1 | int | A:strs | {d} = [len(w) for w in {A}] | {d} | lengths | of the strings in {A}
gaps | 1 | int | A:ints | {d} = [b - a for a, b in zip({A}, {A}[1:])] | {d} | differences |\
 between neighbours in {A}
divisors | 1 | int | A:natural | {d} = [i for i in range(1, {A} + 1) if {A} % i == 0] | {d} |\
 `a:divisors|factors` | of {A}
sums | 1 | int | A:ints;B:ints | {d} = [a `1:+|*|-` b for a, b in zip({A}, {B})] | {d} |\
 `1:sums|products|differences` | of the numbers at the same positions of {A} and {B}
common | 1 | int | A:ints;B:ints | {d} = [{e} for {e} in {A} if {e} `1:in|not in` {B}] | {d} | \
elements |\
 of {A} that `1:also|do not` occur in {B}
common | 1 | str | A:strs;B:strs | {d} = [{e} for {e} in {A} if {e} `1:in|not in` {B}] | {d} | \
words |\
 of {A} that `1:are also|are not` in {B}
both | 1 | int | A:ints;B:ints | {d} = {A} + {B} | {d} | numbers | in {A} and {B} taken together
flat | 1 | int | A:rows | {d} = [x for row in {A} for x in row] | {d} | numbers | in all rows of {A}
rows | 1 | int | A:rows | {d} = [sum(row) for row in {A}] | {d} | sums | of the rows of {A}
column | 1 | int | A:rows;K:0-1 | {d} = [row[{K}] for row in {A} if len(row) > {K}] | {d} | \
numbers |\
 at place {K} of the rows of {A}
seconds | 1 | int | A:pairs | {d} = [value for _, value in {A}] | {d} | numbers | of the pairs in \
{A}
"""

# Early returns in front of a body: kind of argument | condition | words
GUARDS = """
list | not {A} | {A} is empty
list | len({A}) == 0 | {A} is empty
list | len({A}) < 2 | {A} has fewer than two elements
str | not {A} | {A} is empty
str | {A} == '' | {A} is the empty string
str | len({A}) == 0 | {A} has no characters
dict | not {A} | {A} is empty
tuple | not {A} | {A} is empty
int | {A} <= 0 | {A} is not positive
int | {A} < 0 | {A} is negative
int | {A} == 0 | {A} is zero
int | {A} < 2 | {A} is less than 2
float | {A} <= 0 | {A} is not positive
k | {A} <= 0 | {A} is not positive
k | {A} < 1 | {A} is less than 1
"""

# What may be done with a result: kind, its share, slots | code | what becomes of the words | kind
ENDINGS = """
int | 3 | K:2-9 | return {r} % {K} | the remainder of {said} divided by {K} | int
int | 3 | P:int:{r} | return {P} | ? {said} {P} | bool
int | 2 | P:int:{r} | if {P}: / return {W} / return {U} | {W} if {said} {P}, and {U} otherwise | str
int | 1 | P:int:{r} | if {P}: / return {W} / else: / return {U} |\
 {W} if {said} {P}, otherwise {U} | str
int | 1 | P:int:{r} | return {W} if {P} else {U} | {W} when {said} {P}, and {U} when not | str
int | 2 | K | return {r} `1:*|+|-` {K} | {said} `1:times|plus|minus` {K} | int
int | 1 | | return str({r}) | {said}, as a string | str
int | 1 | K | if {r} > {K}: / return {K} / return {r} | {said}, but at most {K} | int
ints | 3 | | return sorted({r}) | {said} in ascending order | ints
ints | 1 | | {r}.sort() / return {r} | {said}, sorted | ints
ints | 2 | | return sorted({r}, reverse=True) | {said} in descending order | ints
ints | 1 | | return {r}[::-1] | {said} in reverse order | ints
ints | 1 | | return sorted(set({r})) | {said}, sorted and without duplicates | ints
ints | 1 | | return len({r}) | the length of {said} | int
ints | 1 | | return sum({r}) | the sum of {said} | int
ints | 1 | K:1-4 | return {r}[:{K}] | the first {K} elements of {said} | ints
ints | 1 | | return max({r}) if {r} else {D} | the largest element of {said}, or {D} if it is \
empty | int
ints | 1 | | return tuple({r}) | {said}, as a tuple | tuple
strs | 2 | | return sorted({r}) | {said} in alphabetical order | strs
strs | 1 | | return {r}[::-1] | {said} in reverse order | strs
strs | 1 | Z | return {Z}.join({r}) | {said}, joined by {Z} | str
strs | 2 | | return ' '.join({r}) | {said}, joined by spaces | str
strs | 1 | | return len(set({r})) | the number of distinct values in {said} | int
str | 1 | | return {r}.upper() | {said}, in upper case | str
str | 1 | | return {r}[::-1] | {said}, reversed | str
str | 1 | | return len({r}) | the length of {said} | int
str | 1 | K:2-5 | return {r}[:{K}] | the first {K} characters of {said} | str
float | 2 | | return round({r}, 2) | {said}, rounded to two decimals | float
float | 1 | | return int({r}) | the whole part of {said} | int
"""

RULES = """
@ accumulating | sum | 8 | S:int,int,int,float;P?;M?num
{r} = 0
for {x} in {S}:
    if {P}:
        {r} `s:+= {V}|+= {V}|+= {V}|= {r} + {V}`
--
{r} = sum({V} for {x} in {S}{if})
--
{t} = [{V} for {x} in {S}{if}]
{r} = sum({t})
=> {r}
= V | the `_:sum|sum|total` of the {V}

@ accumulating | product | 3 | S:int;P?;M?num
{r} = 1
for {x} in {S}:
    if {P}:
        {r} *= {V}
=> {r}
= V | the product of the {V}
.. The product of no numbers is 1.

@ accumulating | count | 8 | S;P
{n} = 0
for {x} in {S}:
    if {P}:
        {n} += 1
--
{n} = `s:sum(1 for {x} in {S} if {P})|len([{x} for {x} in {S} if {P}])`
=> {n}
= int | the number of {E}
= int | how many {E} there are

@ accumulating | extreme | 6 | S:int,int,float;P?;M?num
{t} = None
for {x} in {S}:
    if {P}:
        if {t} is None or {V} `1:>|<` {t}:
            {t} = {V}
return {t} if {t} is not None else {D}
--
{t} = [{V} for {x} in {S}{if}]
if not {t}:
    return {D}
return `1:max|min`({t})
--
return `1:max|min`([{V} for {x} in {S}{if}], default={D})
= V | the `1:`_:largest|maximum|greatest``_:smallest|minimum`` of the {V}
. `_:Return {D} if there are none.|If there is none, return {D}.`

@ accumulating | longest | 3 | S:str;P?
{t} = ''
for {x} in {S}:
    if {P}:
        if len({x}) > len({t}):
            {t} = {x}
return {t}
--
{t} = [{x} for {x} in {S}{if}]
return max({t}, key=len) if {t} else ''
= str | the longest of the {E}
. `_:The first of several counts.|If several have this length, take the first.`
. `_:Return '' if there are none.|If there are none, the result is ''.`

@ accumulating | list | 9 | S;P?;M
{r} = []
for {x} in {S}:
    if {P}:
        {r}.append({V})
--
{r} = [{V} for {x} in {S}{if}]
=> {r}
= many | `_:a list of the|the list of the|a new list with the|the` {V}
.. Keep their order.

@ accumulating | kept | 6 | S;P
{r} = []
for {x} in {S}:
    if {P}:
        {r}.append({x})
--
{r} = [{x} for {x} in {S} if {P}]
=> {r}
= many | `_:a list of the|the list of the|a new list with the|the` {E}
= many | `_:only the|all` {E}
.. `_:Keep their order.|The order of the elements stays the same.`

@ accumulating | without | 2 | S;P
{r} = []
for {x} in {S}:
    if {P}:
        continue
    {r}.append({x})
--
{r} = [{x} for {x} in {S} if not ({P})]
=> {r}
= many | the list of the {S} `_:without the {P~}|except the {P~}`

@ accumulating | mean | 3 | S:int,float;P?;M?num
{t} = [{V} for {x} in {S}{if}]
if not {t}:
    return 0
{r} = sum({t}) / len({t})
--
{t} = 0
{n} = 0
for {x} in {S}:
    if {P}:
        {t} += {V}
        {n} += 1
if {n} == 0:
    return 0
{r} = {t} / {n}
=> {r}
= float | the `_:average|mean` of the {V}
. `_:Return 0 if there are none.|If there are none, return 0.`

@ accumulating | running | 2 | S:int;P?;M?num
{r} = []
{t} = 0
for {x} in {S}:
    if {P}:
        {t} += {V}
        {r}.append({t})
=> {r}
= ints | the list of running `_:totals|sums` of the {V}
.. Each entry is the sum of all values up to and including that one.

@ accumulating | best so far | 1 | S:int;M?num
{r} = []
{t} = None
for {x} in {S}:
    if {t} is None or {V} `1:>|<` {t}:
        {t} = {V}
    {r}.append({t})
=> {r}
= ints | a list of the `1:largest|smallest` value so far, for each of the {V}

@ accumulating | positions | 3 | S;P
{r} = []
for {i}, {x} in enumerate({S}):
    if {P}:
        {r}.append({i})
--
{r} = [{i} for {i}, {x} in enumerate({S}) if {P}]
=> {r}
= ints | the positions of the {E}
. `_:Positions are counted from 0.|Counting starts at 0.`

@ accumulating | by position | 2 | S:int
{r} = 0
for {i}, {x} in enumerate({S}):
    if {i} % {K} == 0:
        {r} += {x}
    1=0? else:
    1=0?     {r} -= {x}
    1=1? else:
    1=1?     {r} += {x} * {i}
=> {r}
= int | the result of adding the {S} whose position is divisible by {K}
. `1:All others are subtracted.|All others are multiplied by their position first.|Skip the others.`

@ accumulating | join | 4 | S:char;P?;M?char
{r} = ''
for {x} in {S}:
    if {P}:
        {r} += {V}
--
{r} = ''.join({V} for {x} in {S}{if})
--
{t} = [{V} for {x} in {S}{if}]
{r} = ''.join({t})
=> {r}
= str | `_:the string made of the|a string of the|the string of the` {V}

@ accumulating | join words | 3 | S:str;P?;M?str;Z
{t} = []
for {x} in {S}:
    if {P}:
        {t}.append({V})
return {Z}.join({t})
--
return {Z}.join([{V} for {x} in {S}{if}])
= str | the {V}, joined by {Z}

@ accumulating | distinct | 3 | S;P?;M?
{t} = set()
for {x} in {S}:
    if {P}:
        {t}.add({V})
{n} = len({t})
--
{t} = []
for {x} in {S}:
    if {P}:
        if {V} not in {t}:
            {t}.append({V})
{n} = len({t})
--
{n} = len(set({V} for {x} in {S}{if}))
=> {n}
= int | `_:the number of distinct values among the|how many different values there are among the` \
{V}

@ accumulating | first seen | 2 | S:int,str,char;P?
{r} = []
for {x} in {S}:
    if {P}:
        if {x} not in {r}:
            {r}.append({x})
=> {r}
= many | the list of the {E}, each only once
. Keep the order in which they first occur.

@ searching | first | 6 | S;P
for {x} in {S}:
    if {P}:
        return {x}
return {D}
= elem | the first of the {E}
. `_:If there is none, return {D}.|Return {D} if there is no such element.|Return {D} otherwise.`

@ searching | made of first | 2 | S;P;M
for {x} in {S}:
    if {P}:
        return {M}
return {D}
= M | the {M} of the first of the {E}
. `_:If there is none, return {D}.|Return {D} if no element fits.`

@ searching | last | 2 | S;P
{r} = {D}
for {x} in {S}:
    if {P}:
        {r} = {x}
return {r}
= elem | the last of the {E}
. Return {D} if there is none.

@ searching | index | 3 | S;P
for {i}, {x} in enumerate({S}):
    if {P}:
        return {i}
return -1
= int | the `_:position|index` of the first of the {E}
. `_:If there is none, return -1.|Return -1 if nothing is found.`

@ searching | any | 2 | S;P
for {x} in {S}:
    if {P}:
        return True
return False
--
return any({P} for {x} in {S})
? `_:any|at least one` of the {S} {P}
? there are any {E}

@ searching | all | 4 | S;P;Q?
for {x} in {S}:
    2=0? if not ({P}):
    2=1? if {P}:
        return False
    if {Q}:
        return False
return True
--
return all(`2:{P}|not ({P})` for {x} in {S})
? `2:each|none` of the {S} {P}

@ searching | all but | 2 | S;P;Q
for {x} in {S}:
    if {P}:
        return False
    if {Q}:
        return True
return {D}
? among the {S}, one that {Q} comes before any that {P}
. If there is neither of them, return {D}.

@ searching | enough | 2 | S;P;K:2-4
{n} = 0
for {x} in {S}:
    if {P}:
        {n} += 1
        if {n} == {K}:
            return `1:True|{x}`
return `1:False|{D}`
= `1:bool|elem` | `1:True if there are at least {K} {E}, and False otherwise|number {K} of the {E}`
. `1:Stop as soon as enough are found.|Return {D} if there are not so many.`

@ searching | repeated | 2 | S:int,str,char
{t} = `s:set()|[]`
for {x} in {S}:
    if {x} in {t}:
        return {x}
    {t}.`s:add|append`({x})
return {D}
= elem | the first of the {S} that has occurred before
. Return {D} if all are different.

@ branching | balance | 5 | S:int,int,float;P;M?num
{r} = 0
for {x} in {S}:
    if {P}:
        {r} += {V1}
    else:
        {r} -= {x}
=> {r}
= elem | `_:the total over|the balance of` all {S}
. For each one that {P}, add {itsV}; subtract any other.

@ branching | score | 5 | S;P;Q?;K1:1-5;K2:1-5;K3:1-3
{r} = 0
for {x} in {S}:
    if {P}:
        {r} += {K1}
    elif {Q}:
        {r} += {K2}
    else:
        {r} -= {K3}
=> {r}
= int | `_:the score of|the total score for` all {S}
. Each one that {P} counts {K1}{andQ}.
. Every other one takes {K3} away.

@ branching | replace | 6 | S:int,str,float;P;M
{r} = []
for {x} in {S}:
    if {P}:
        {r}.append({M})
    else:
        {r}.append(`2:{x}|{N}`)
--
{r} = [{M} if {P} else `2:{x}|{N}` for {x} in {S}]
=> {r}
= list | `_:a new list made from the {S}|the list of the {S} with some of them replaced`
. `_:Replace each one that {P} by its {M}|Each one that {P} becomes its {M}`, \
and `2:keep the others as they are|replace any other by its {N}`.

@ branching | replace characters | 5 | S:char;P;M:char;N:char;Q?
{r} = ''
for {x} in {S}:
    if {P}:
        {r} += {M}
    elif {Q}:
        {r} += {N}
    else:
        {r} += {x}
=> {r}
= str | the string made from the {S} by the following rule
= str | the {S}, written with some changes
. Replace each one that {P} by its {M}{orQ}.
. `_:Keep all other characters as they are.|The others do not change.`

@ branching | three ways | 3 | S:int,float;P;Q
{r} = []
for {x} in {S}:
    if {P}:
        {r}.append({W})
    elif {Q}:
        {r}.append({U})
    else:
        {r}.append({T})
=> {r}
= strs | a list with one word for each of the {S}
. The word is {W} for one that {P}, {U} for another that {Q}, and {T} for the rest.

@ branching | split | 3 | S;P
{a} = []
{b} = []
for {x} in {S}:
    if {P}:
        {a}.append({x})
    else:
        {b}.append({x})
return `1:{a}, {b}|({a}, {b})|{a} + {b}|{b} + {a}|len({a}) > len({b})|len({a}) - len({b})`
= `1:tuple2|tuple2|many|many|bool|int` | `1:a tuple of two lists: the {E}, and the others|two \
lists: \
the {E}, and all others|the {S}, those that come first for which it holds that each {P}|the {S}, \
those moved to the end of which each {P}|True if there are more {E} than others, and False if \
not|the \
difference between the number of {E} and the number of the others`

@ branching | two counts | 4 | S;P;Q
{a} = 0
{b} = 0
for {x} in {S}:
    if {P}:
        {a} += 1
    `s:if|if|elif` {Q}:
        {b} += 1
return `1:({a}, {b})|{a} - {b}|{a} > {b}|max({a}, {b})|[{a}, {b}]|{a} == {b}`
= `1:duo|int|bool|int|ints|bool` | `1:a tuple of|the difference between|True or False: is the \
first \
larger of|the larger of|a list of|True or False: are they equal,` the number of {P~} and the \
number of {Q~} \
{where}
s=2? . One that counts for the first does not count for the second.

@ branching | capped | 3 | S:int;P;K:10-30
{r} = 0
for {x} in {S}:
    if {P}:
        {r} += {x}
    if {r} > {K}:
        `1:break|return {K}|{r} = 0`
=> {r}
= int | the sum of the {E}
. `1:Stop as soon as the sum exceeds {K}.|If it exceeds {K} on the way, return {K}.|Whenever the \
sum \
exceeds {K}, start again from 0.`

@ branching | until | 3 | S;P;M?
{r} = []
for {x} in {S}:
    if {P}:
        break
    {r}.append({V1})
=> {r}
= list | a list made from the {S}, up to the first one that {P}
. The list holds {itsV} for every {one} before that.

@ nested loops | pairs | 7 | A:ints;P:int:{A}[{i}] `1:+|*|-` {A}[{j}]
2=0? {n} = 0
2=2? {r} = []
for {i} in range(len({A})):
    for {j} in range({i} + 1, len({A})):
        if {P}:
            2=0? {n} += 1
            2=1? return True
            2=2? {r}.append(({A}[{i}], {A}[{j}]))
2=0? return {n}
2=1? return False
2=2? return {r}
= `2:int|bool|list` | `2:the number of ways to choose|True if there are|a list of the pairs of` \
two \
elements of {A} at different positions whose `1:sum|product|difference` {P}`2:|, False otherwise|`
.. The first element of a pair comes before the second.

@ nested loops | cross | 4 | A:ints;B:ints;P:int:{a} `1:+|*|-` {b}
2=0? {n} = 0
2=2? {r} = []
for {a} in {A}:
    for {b} in {B}:
        if {P}:
            2=0? {n} += 1
            2=1? return True
            2=2? {r}.append(({a}, {b}))
2=0? return {n}
2=1? return False
2=2? return {r}
= `2:int|bool|list` | `2:the number of pairs of|True if there are|a list of the pairs of` an \
element \
of {A} and one of {B} whose `1:sum|product|difference` {P}`2:|, and False if not|`

@ nested loops | best pair | 3 | A:ints
{t} = None
for {i} in range(len({A})):
    for {j} in range({i} + 1, len({A})):
        {v} = `1:{A}[{i}] + {A}[{j}]|{A}[{i}] * {A}[{j}]|abs({A}[{i}] - {A}[{j}])`
        if {t} is None or {v} `2:>|<` {t}:
            {t} = {v}
return {t}
= int | the `2:largest|smallest` `1:sum|product|absolute difference` of two elements of {A}
. `_:The two have different positions.|An element is not paired with itself.`
. Return None if there are fewer than two elements.

@ nested loops | rows | 4 | A:rows;P:int:{y}
{r} = 0
for {x} in {A}:
    for {y} in {x}:
        if {P}:
            {r} += `1:1|{y}`
=> {r}
= int | the `1:number|sum` of the `_:numbers in all rows|entries` of {A} of which each {P}

@ nested loops | each row | 4 | A:rows;P:int:{y}
{r} = []
for {x} in {A}:
    {n} = 0
    for {y} in {x}:
        if {P}:
            {n} += `1:1|{y}`
    {r}.append({n})
=> {r}
= ints | a list with one number for each row of {A}
. It is the `1:number|sum` of the entries of that row of which each {P}.

@ nested loops | letters | 4 | A:strs;P:char:{c}
{r} = `1:0|[]|''`
for {w} in {A}:
    for {c} in {w}:
        if {P}:
            {r} `1:+= 1|.append({c})|+= {c}`
=> {r}
= `1:int|strs|str` | `1:the number of|a list of|a string of` the {P~} in all words of {A}

@ nested loops | table | 2 | A:k
{r} = []
for {i} in range(`2:{A}|1, {A} + 1`):
    {t} = []
    for {j} in range(`2:{A}|1, {A} + 1`):
        {t}.append(`1:{i} * {j}|{i} + {j}|1 if {i} == {j} else 0|max({i}, {j})|abs({i} - {j})`)
    {r}.append({t})
return {r}
= rows | a list of {A} rows with {A} numbers each
. Each number is `1:the product of its row and column numbers|the sum of its row and column \
numbers|1 where the row number equals the column number, otherwise 0|the larger of its row and \
column \
numbers|the distance of its row and column numbers`.
. Rows and columns are counted from `2:0|1`.

@ nested loops | pieces | 3 | A:str;P:str:{A}[{i}:{j}]
{n} = 0
for {i} in range(len({A})):
    for {j} in range({i} + 1, len({A}) + 1):
        if {P}:
            {n} += 1
return {n}
= int | the number of pieces of {A} of which each {P}
. A piece is a run of neighbouring characters; it has at least one.

@ nested loops | for each | 3 | A:ints;B:ints
{r} = []
for {a} in {A}:
    {n} = 0
    for {b} in {B}:
        if {b} `1:<|>|==` {a}:
            {n} += 1
    {r}.append({n})
=> {r}
= ints | a list that holds, for each element of {A}, how many elements of {B} are \
`1:smaller|larger|equal`

@ while loops | digits | 7 | A:natural;P:int:{d}
{r} = `1:0|0|1`
while {A} > 0:
    {d} = {A} % `3:10|10|10|2`
    if {P}:
        {r} `1:+= {d}|+= 1|*= {d}`
    {A} //= `3:10|10|10|2`
=> {r}
= int | the `1:sum|number|product` of the `3:digits|digits|decimal digits|binary digits` of {A} of \
which each {P}
.. Use a loop that takes off the last digit.

@ while loops | digit list | 2 | A:natural
{r} = []
while {A} > 0:
    {r}.append({A} % `3:2|3|4|8`)
    {A} = {A} // `3:2|3|4|8`
=> {r}
= ints | a list of the digits of {A} written in base `3:2|3|4|8`, the last digit first

@ while loops | steps | 4 | A:natural
{n} = 0
while {A} > `1:0|1`:
    if {A} % `2:2|3|5` == 0:
        {A} //= `2:2|3|5`
    else:
        {A} -= `3:1|2`
    {n} += 1
return {n}
= int | the number of steps until {A} is not larger than `1:0|1`
. In each step, {A} is divided by `2:2|3|5` if that leaves no remainder, else reduced by `3:1|2`.

@ while loops | grow | 4 | A:natural;K:30-200
{n} = 0
while 0 < {A} < {K}:
    {A} = `1:{A} * 2|{A} * 3|{A} + {n} + 1|{A} * 2 + 1|{A} + {A} // 2 + 1`
    {n} += 1
return `2:{n}|{A}`
= int | `2:how many steps it takes until {A} reaches|the first value of {A} that is at least` {K}
. In each step, it `1:is doubled|is multiplied by 3|grows by 1, then by 2, and so on|is doubled \
and \
increased by 1|grows by its half, rounded down, plus 1`.

@ while loops | two ends | 4 | A:`4:ints|str|strs`
{i} = 0
{j} = len({A}) - 1
{n} = 0
while {i} < {j}:
    if {A}[{i}] `1:==|!=|>|<` {A}[{j}]:
        {n} += 1
    {i} += 1
    {j} -= 1
=> {n}
= int | the number of places in the first half of {A} whose element is `1:equal to|different \
from|greater than|less than` the one at the opposite place

@ while loops | from both ends | 2 | A:`4:ints|strs`
{i}, {j} = 0, len({A}) - 1
{r} = []
while {i} <= {j}:
    {r}.append({A}[`1:{i}|{j}`])
    if {i} < {j}:
        {r}.append({A}[`1:{j}|{i}`])
    {i} += 1
    {j} -= 1
return {r}
= list | a list that takes the elements of {A} in turn from `1:the start and from the end|the end \
and \
from the start`

@ while loops | spend | 3 | A:ints;K:8-30
{t} = 0
{i} = 0
while {i} < len({A}) and {t} + {A}[{i}] <= {K}:
    {t} += {A}[{i}]
    {i} += 1
return `1:{i}|{t}|{A}[{i}:]`
= `1:int|int|ints` | `1:the number of elements|the sum of the elements|what is left` of {A} after \
`1:taking|taking|taking away` them from the front
. Go on as long as the sum of those taken does not exceed {K}.

@ while loops | next | 3 | A:natural;P:int:{x};x:candidate,x,current,num
{x} = {A}`1:| + 1`
while {x} < 1000 and not ({P}):
    {x} += 1
return {x}
= int | the smallest integer `1:not less|greater` than {A} that {P}
. Stop at 1000 in any case.

@ while loops | find several | 3 | A:k;P:int:{x};x:candidate,x,current,num
{r} = []
{x} = `1:0|1`
while len({r}) < {A} and {x} < 500:
    if {P}:
        {r}.append({x})
    {x} += 1
return {r}
= ints | a list of the first {A} integers, from `1:0|1` upwards, of which each {P}
.. Numbers from 500 on are not looked at.

@ while loops | strip | 3 | A:`4:ints|strs|str`;P:`4:int|str|char`:`1:{A}[0]|{A}[-1]`
while {A} and {P}:
    {A} = {A}`1:[1:]|[:-1]`
return `2:{A}|len({A})`
= `2:A|int` | `2:what is left|the length of what is left` of {A} when elements are removed from \
its \
`1:start|end`
. Remove elements as long as the `1:first|last` one {P}.

@ while loops | common | 2 | A:natural;B:natural
while {B} > 0:
    {A}, {B} = {B}, {A} % {B}
return `1:{A}|{A} == 1|{A} > 1`
= `1:int|bool|bool` | `1:the largest integer that divides both {A} and {B}|True if {A} and {B} \
have no \
common divisor but 1, otherwise False|True if {A} and {B} have a common divisor greater than 1, \
else False`

@ formulas | by cases | 6 | A:`4:int|int|float`;P:`4:int|int|float`:{A};Q?`4:int|int|float`:{A}
if {P}:
    return {F1}
if {Q}:
    return {F2}
return {F3}
--
if {P}:
    {r} = {F1}
elif {Q}:
    {r} = {F2}
else:
    {r} = {F3}
return {r}
= A | {F1} if {A} {P}, {elseQ}and {F3} otherwise

@ formulas | label | 4 | A:`4:int|int|float`;P:`4:int|int|float`:{A};Q?`4:int|int|float`:{A}
if {P}:
    return {W}
elif {Q}:
    return {U}
else:
    return {T}
--
if {P}:
    return {W}
if {Q}:
    return {U}
return {T}
= str | {W} if {A} {P}, {elseU}and {T} otherwise

@ formulas | combine | 4 | A:`4:int|float`;B:`4:int|float`
{a} = {F1}
{b} = {F2B}
return {a} `1:+|*|-` {b}
--
return ({F1}) `1:+|*|-` ({F2B})
= A | the `1:sum|product|difference` of two values: {F1}, and {F2B}

@ formulas | compare | 4 | A:`4:int|float`;B:`4:int|float`
{a} = {F1}
{b} = {F2B}
2=0? return {a} `1:>|<|>=` {b}
2=1? if {a} `1:>|<|>=` {b}:
2=1?     return {A}
2=1? return {B}
2=2? if {a} `1:>|<|>=` {b}:
2=2?     return {a} - {b}
2=2? return 0
= `2:bool|A|A` | `2:True|{A}|how much the first of two values exceeds the second` if {F1} is \
`1:greater than|less than|at least` {F2B}, and `2:False|{B}|0` otherwise

@ formulas | clamp | 2 | A:`4:int|float`;B:k;C:k
{r} = {F1}
if {r} < {B}:
    return {B}
if {r} > {C}:
    return {C}
return {r}
= A | {F1}, kept between {B} and {C}
. If it is below {B}, return {B}; if it is above {C}, return {C}.

@ formulas | three | 4 | A:`4:int|float`;B:`4:int|float`;C:`4:int|float`
{r} = `1:sorted([{A}, {B}, {C}])[1]|max({A}, {B}, {C}) - min({A}, {B}, {C})|{A} + {B} + {C} - \
min({A}, {B}, {C})|{A} * {B} + {C}|({A} + {B}) * {C}|max({A} + {B}, {C})`
=> {r}
= A | `1:the middle one of {A}, {B} and {C}|the gap between the largest and the smallest of {A}, \
{B} and \
{C}|the sum of the two largest of {A}, {B} and {C}|the product of {A} and {B}, increased by \
{C}|the sum \
of {A} and {B}, multiplied by {C}|the larger of {C} and the sum of {A} and {B}`

@ formulas | conditions | 4 | A:int;B:int;P:int:{A};Q:int:{B}
return ({P}) `1:and|or` ({Q})
--
if `1:not ({P})|{P}`:
    return `1:False|True`
return {Q}
? {A} {P} `1:and|or` {B} {Q}

@ formulas | parts of a time | 2 | A:natural;K:5-60
{a} = {A} // {K}
{b} = {A} % {K}
return `1:({a}, {b})|{a} + {b}|f'{{a}}:{{b}}'|{a} if {b} == 0 else {a} + 1`
= `1:duo|int|str|int` | `1:a tuple of two numbers: how often {K} fits|the sum of two numbers: how \
often \
{K} fits|a string of two numbers with a colon between them: how often {K} fits|the number of \
groups of \
size {K} that are needed to hold {A} things: how often it fits` into {A}, and \
`1:what is left|what is left|what is left|one more if something is left`

@ texts | words | 6 | A:str;P:str:{w};M:str:{w}:str
{r} = []
for {w} in {A}.split():
    if {P}:
        {r}.append({M})
    1=0? else:
    1=0?     {r}.append({w})
return ' '.join({r})
= str | a copy of {A} in which each word `_:is replaced by its {M}|becomes its {M}`
. `1:Words that do not meet the condition stay as they are|Words that do not meet the condition \
are \
left out`: a word meets it if it {P}.
.. The words are separated by single spaces.

@ texts | by position | 4 | A:str;M:char:{c}:char;N:char:{c}:char;K:2-4
{r} = ''
for {i}, {c} in enumerate({A}):
    if {i} % {K} == 0:
        {r} += {M}
    else:
        {r} += `1:{c}|{N}`
return {r}
= str | {A} with its characters changed by position
. A character at a position divisible by {K} becomes its {M}; `1:all others stay|any other becomes \
its {N}`.
.. Positions are counted from 0.

@ texts | repeat | 3 | A:str;P:char:{c};K:2-4
{r} = ''
for {c} in {A}:
    if {P}:
        {r} += {c} * {K}
    else:
        {r} += {c}
return {r}
= str | {A} with each character that {P} written {K} times

@ texts | fill | 3 | A:str;K:6-12;L
{r} = {A}`2:|.strip()|.upper()`
while len({r}) < {K}:
    {r} = `1:{L} + {r}|{r} + {L}`
return {r}
= str | {A}`2:|, without spaces around it,|, in upper case and` filled up to at least {K} characters
. Put {L} `1:in front|at the end` as often as needed.

@ texts | two texts | 4 | A:str;B:str
{r} = `2:''|0`
for {c} in {A}:
    if {c} `1:not in|in` {B}:
        {r} += `2:{c}|1`
=> {r}
= `2:str|int` | the `2:string|number` of the characters of {A} that `1:do not occur|also occur` \
in {B}

@ texts | neighbours | 4 | A:str
{r} = `2:{A}[:1]|''`
for {i} in range(1, len({A})):
    if {A}[{i}] `1:!=|==|>|<` {A}[{i} - 1]:
        {r} += {A}[{i}]
=> {r}
= str | the string of `2:the first character of {A} and|` the characters of {A} that \
`1:differ from|are equal to|come after|come before` the character in front of them

@ texts | groups | 3 | A:str;K:2-4;Z
{t} = []
for {i} in range(0, len({A}), {K}):
    {t}.append({A}[{i}:{i} + {K}]`1:|[::-1]|.upper()`)
return {Z}.join({t})
= str | {A} cut into groups of {K} characters, `1:|each reversed, |each in upper case, `with {Z} \
between them

@ texts | lengths | 4 | A:str
{r} = []
{n} = 1
for {i} in range(1, len({A}) + 1):
    if {i} < len({A}) and {A}[{i}] == {A}[{i} - 1]:
        {n} += 1
    else:
        1=0? {r}.append({n})
        1=1? {r}.append({A}[{i} - 1] + str({n}))
        1=2? if {n} > 1:
        1=2?     {r}.append({A}[{i} - 1])
        {n} = 1
return {r}
= `1:ints|strs|strs` | a list with `1:the length|the character and the length|the character` of \
each \
run of equal neighbouring characters in {A}`1:||, if the run is longer than 1`
. Look at the text from left to right.

@ texts | weave | 2 | A:str;B:str
{r} = ''
for {a}, {b} in zip({A}, {B}):
    1=0? {r} += {a} + {b}
    1=1? {r} += max({a}, {b})
    1=2? {r} += {a} if {a} == {b} else {L}
return {r}
= str | a string made from the characters at the same places of {A} and {B}
. `1:Take the character of {A}, then that of {B}.|Take the one that comes later in the \
alphabet.|Where \
they are equal, take the character, else {L}.`
.. Stop at the end of the shorter one.

@ dictionaries | often | 5 | S:str,int,char;K:1-3
{t} = {}
for {x} in {S}:
    s=0? {t}[{x}] = {t}.get({x}, 0) + 1
    s=1? if {x} in {t}:
    s=1?     {t}[{x}] += 1
    s=1? else:
    s=1?     {t}[{x}] = 1
1=0? return [{k} for {k} in {t} if {t}[{k}] `2:>=|==|>` {K}]
1=1? return sum(1 for {v} in {t}.values() if {v} `2:>=|==|>` {K})
1=2? {r} = []
1=2? for {k}, {v} in {t}.items():
1=2?     if {v} `2:>=|==|>` {K}:
1=2?         {r}.append({k})
1=2? return sorted({r})
= `1:list|int|list` | `1:a list of|the number of|a sorted list of` the distinct {S} that occur \
`2:at least|exactly|more than` {K} times

@ dictionaries | tally | 3 | S:str,int,char;P?
{r} = {}
for {x} in {S}:
    if {P}:
        s=0? {r}[{x}] = {r}.get({x}, 0) + 1
        s=1? if {x} not in {r}:
        s=1?     {r}[{x}] = 0
        s=1? {r}[{x}] += 1
return {r}
= dict | a dictionary that tells how often each of the {E} occurs

@ dictionaries | most | 3 | S:str,int,char
{t} = {}
{r} = {D}
for {x} in {S}:
    {t}[{x}] = {t}.get({x}, 0) + 1
    if {r} is {D} or {t}[{x}] > {t}[{r}]:
        {r} = {x}
return {r}
--
{t} = {}
for {x} in {S}:
    {t}[{x}] = {t}.get({x}, 0) + 1
if not {t}:
    return {D}
return max({t}, key={t}.get)
= none | the most frequent of the {S}
. `_:Return {D} if there are none.|If there are none, return {D}.`

@ dictionaries | group | 4 | S:str,str,int;M
{r} = {}
for {x} in {S}:
    {k} = {M}
    if {k} not in {r}:
        {r}[{k}] = []
    {r}[{k}].append({x})
return {r}
= dict | a dictionary that groups the {S} by their {M}
.. Each key has the list of those that belong to it.

@ dictionaries | entries | 5 | A:counts;P:`4:str:{k}|int:{v}`
{r} = `1:{}|0|[]|0`
for {k}, {v} in {A}.items():
    if {P}:
        {r}`1:[{k}] = {v}| += {v}|.append({k})| += 1`
return {r}
= `1:counts|int|strs|int` | `1:a dictionary with|the sum of the values of|a list of the keys \
of|the \
number of` the entries of {A} whose `4:key|value` {P}

@ dictionaries | merge | 3 | A:counts;B:counts
{r} = dict({A})
for {k} in {B}:
    if {k} in {r}:
        {r}[{k}] = `1:{r}[{k}] + {B}[{k}]|max({r}[{k}], {B}[{k}])|min({r}[{k}], {B}[{k}])`
    2=0? else:
    2=0?     {r}[{k}] = {B}[{k}]
return {r}
= counts | a dictionary with the keys of `2:both {A} and {B}|{A}`
. A key that occurs in both gets `1:the sum of both values|the larger value|the smaller value`.

@ dictionaries | look up | 3 | A:counts;B:strs;K:0-5
{r} = `1:0|[]`
for {w} in {B}:
    if {w} in {A}:
        {r} `1:+= {A}[{w}]|.append({A}[{w}])`
    else:
        {r} `1:+= {K}|.append({K})`
return {r}
= `1:int|ints` | the `1:sum|list` of the values that {A} has for the words in {B}
. A word without an entry counts as {K}.

@ dictionaries | invert | 2 | A:counts;P:int:{v}
{r} = {}
for {k}, {v} in {A}.items():
    if {P}:
        {r}.setdefault({v}, []).append({k})
return {r}
= dict | a dictionary from the values of {A} to the lists of their keys
. Only entries whose value {P} count.

@ dictionaries | change | 2 | A:counts;P:int:{v};M:int:{v}:num
{r} = {}
for {k}, {v} in {A}.items():
    if {P}:
        {r}[{k}] = {M}
    else:
        {r}[{k}] = {v}
return {r}
= counts | a copy of {A} in which each value that {P} is replaced by its {M}

@ dictionaries | positions | 2 | A:`4:ints|strs`
{r} = {}
for {i}, {x} in enumerate({A}):
    1=0? {r}[{x}] = {i}
    1=1? if {x} not in {r}:
    1=1?     {r}[{x}] = {i}
    1=2? {r}.setdefault({x}, []).append({i})
return {r}
= dict | a dictionary from each element of {A} to `1:its last position|its first position|the \
list of \
its positions`

@ sorting | by key | 5 | S:int,str;P?;M
{r} = sorted(`s:{S}|{S}|list({S})`, key=lambda {x}: `2:{M}|({M}, {x})`{reverse})
1=0? return {r}
1=1? return {r}[:{K}]
= many | `1:a list of|the first {K} of` the {S}, `1:|`sorted by their {M} in \
`3:ascending|descending` order
2=1? . Order those with equal keys by the elements themselves.

@ sorting | chosen | 4 | S:int,str;P;M
{t} = [{x} for {x} in {S} if {P}]
{t}.sort(key=lambda {x}: {M}{reverse})
1=0? return {t}
1=1? return {t}[:{K}]
1=2? return {t}[0] if {t} else None
= `1:many|many|elem` | `1:a list of|the first {K} of|the first of` the {E}, sorted by their {M} in \
`3:ascending|descending` order
1=2? . Return None if there are none.

@ sorting | place | 3 | S:int;P?
{t} = sorted({x} for {x} in {S}{if})
if len({t}) < {K}:
    return {D}
return {t}[`1:{K} - 1|-{K}`]
= int | number {K} of the {E}, counted from the `1:smallest|largest`
. Return {D} if there are fewer than {K}.

@ sorting | middle | 2 | S:int,float;P?
{t} = sorted({x} for {x} in {S}{if})
{n} = len({t})
if {n} == 0:
    return None
if {n} % 2 == 1:
    return {t}[{n} // 2]
return `1:({t}[{n} // 2 - 1] + {t}[{n} // 2]) / 2|{t}[{n} // 2 - 1]`
= float | the middle value of the {E}
. Of an even number of values, take `1:the mean of the two in the middle|the smaller of the two \
in the \
middle`. Return None if there are none.

@ sorting | swap | 3 | A:ints
{r} = list({A})
for {i} in range(len({r})):
    for {j} in range({i} + 1, len({r})):
        if `1:{r}[{j}] < {r}[{i}]|{r}[{j}] > {r}[{i}]|abs({r}[{j}]) < abs({r}[{i}])`:
            {r}[{i}], {r}[{j}] = {r}[{j}], {r}[{i}]
return {r}
= ints | a sorted copy of {A}, `1:the smallest element first|the largest element first|the element \
closest to zero first`
. `_:Do not use the built-in sort.|Write the sort with two loops.`

@ sorting | pairs | 3 | A:pairs
{r} = sorted({A}, key=lambda {t}: `2:{t}[1]|{t}[0]|(-{t}[1], {t}[0])`)
return `1:{r}|[{t}[0] for {t} in {r}]|{r}[:{K}]`
= `1:pairs|strs|pairs` | `1:the pairs of {A}|the names of {A}|the first {K} pairs of {A}`, sorted \
by \
`2:their numbers|their names|their numbers from large to small, then by name`

@ recursion | sequence | 3 | A:k
if {A} <= 0:
    return {K1}
1=0? if {A} == 1:
1=0?     return {K2}
return `1:SELF({A} - 1) + `2:SELF|2 * SELF|3 * SELF`({A} - 2)|`2:2|3|4` * SELF({A} - 1) + {K2}|{A} \
+ SELF({A} - 1)|{A} * {A} + SELF({A} - `2:1|2|3`)`
= int | the value at place {A} of a sequence
. The sequence starts with {K1} at place 0`1: and {K2} at place 1|||`.
. `1:Every later value is the one before plus `2:|twice |three times `the one before that.|Every \
later \
value is `2:2|3|4` times the one before plus {K2}.|Every later value is the one before plus its \
place.|Every \
later value is the one `2:one place|two places|three places` before plus the square of its place.`

@ recursion | digits | 3 | A:natural
if {A} <= 0:
    return 0
return `1:{A} % 10|1|({A} % 10) ** 2|{A} % 10 % 2` + SELF({A} // 10)
= int | the `1:sum|number|sum of the squares|number of odd ones` of the digits of {A}
. `_:Use recursion.|Solve it recursively.|Do not use a loop.`

@ recursion | list | 4 | A:ints;P:int:{A}[0]
if not {A}:
    return `1:0|0|[]`
if {P}:
    return `1:{A}[0]|1|[{A}[0]]` + SELF({A}[1:]{more})
return SELF({A}[1:]{more})
= `1:int|int|ints` | the `1:sum|number|list` of the {P~} in {A}
. `_:Use recursion.|Look at the first element, then at the rest.|Do not use a loop.`

@ recursion | text | 2 | A:str;P:char:{A}[0]
if {A} == '':
    return `1:''|0|''`
if {P}:
    return `1:{A}[0] + SELF({A}[1:]{more})|1 + SELF({A}[1:]{more})|SELF({A}[1:]{more}) + {A}[0]`
return SELF({A}[1:]{more})
= `1:str|int|str` | the `1:string|number|reversed string` of the {P~} in {A}
. `_:Use recursion.|Look at the first character, then at the rest.`

@ neighbours | zip | 5 | A:`4:ints|ints|strs`;B:`4:ints|ints|strs`
{r} = `2:0|[]|[]`
for {a}, {b} in zip({A}, {B}):
    if {a} `1:==|!=|>|<` {b}:
        {r}`2: += 1|.append({a})|.append(({a}, {b}))`
=> {r}
= `2:int|A|list` | `2:the number of positions|the elements of {A} at the positions|a list of the \
pairs \
of elements at the positions` where {A} and {B} `1:are equal|differ|decrease|increase`
1=2? . A position decreases if the second element there is smaller than the first.
1=3? . A position increases if the second element there is larger than the first.

@ neighbours | along both | 3 | A:ints;B:ints
{r} = []
for {i} in range(min(len({A}), len({B}))):
    1=0? {r}.append({A}[{i}] `2:+|*|-` {B}[{i}])
    1=1? {r}.append(`2:max|min|abs`({A}[{i}]`2:, | , | - `{B}[{i}]))
    1=2? {r} += [{A}[{i}], {B}[{i}]]
=> {r}
= ints | a list made from {A} and {B}, place by place
. `1:Each entry is the `2:sum|product|difference` of the two elements.|Each entry is the `2:larger \
one|smaller one|absolute difference` of the two elements.|Take the element of {A}, then that of \
{B}.`
.. Stop at the end of the shorter list.

@ neighbours | steps | 5 | A:`4:ints|ints|floats|strs`
{r} = `2:0|[]`
for {i} in range(`s:1, len({A})|len({A}) - 1`):
    if {A}[{i}`s:| + 1`] `1:>|<|==|!=` {A}[{i}`s: - 1|`]:
        {r}`2: += 1|.append({A}[{i}`s:| + 1`])`
=> {r}
= `2:int|A` | the `2:number|list` of the elements of {A} that are `1:greater than|less than|equal \
to|different from` the one before them

@ neighbours | monotone | 4 | A:`4:ints|ints|floats|strs`
for {i} in range(`s:1, len({A})|len({A}) - 1`):
    if {A}[{i}`s:| + 1`] `1:<=|>=|<|>|==` {A}[{i}`s: - 1|`]:
        return `2:False|{i}`
return `2:True|-1`
= `2:bool|int` | `2:True if no element|the index in the loop at which an element` of {A} is \
`1:less than or equal to|greater than or equal to|less than|greater than|equal to` the one \
before it`2:, False otherwise|`
2=1? . Return -1 if there is none.

@ neighbours | longest run | 5 | S:int,int,str,char;P
{t} = 0
{n} = 0
for {x} in {S}:
    if {P}:
        {n} += 1
        {t} = max({t}, {n})
    else:
        {n} = 0
return {t}
--
{t} = 0
{n} = 0
for {x} in {S}:
    if {P}:
        {n} += 1
        if {n} > {t}:
            {t} = {n}
    else:
        {n} = 0
return {t}
= int | the length of the longest run of consecutive {S} of which each {P}

@ neighbours | rotate | 3 | A:`4:ints|strs|str`;K:1-4
if not {A}:
    return {A}
{t} = {K} % len({A})
return `1:{A}[{t}:] + {A}[:{t}]|{A}[-{t}:] + {A}[:-{t}] if {t} else {A}`
= A | {A} `_:rotated|turned` to the `1:left|right` by {K} places

@ neighbours | chunks | 4 | A:ints;K:2-4
{r} = []
for {i} in range(0, len({A}), {K}):
    {t} = {A}[{i}:{i} + {K}]
    {r}.append(`1:{t}|sum({t})|max({t})|{t}[0]|{t}[::-1]|min({t})|len({t})`)
=> {r}
= `1:list|ints|ints|ints|list|ints|ints` | `1:the parts|the sums of the parts|the largest \
elements of \
the parts|the first elements of the parts|the reversed parts|the smallest elements of the \
parts|the \
lengths of the parts` of {A} when it is cut into parts of {K} elements
. The last part may be shorter.

@ neighbours | windows | 4 | A:ints;K:2-4;P?int:{t}
{r} = []
for {i} in range(len({A}) - {K} + 1):
    {t} = `1:sum|max|min`({A}[{i}:{i} + {K}])
    if {P}:
        {r}.append({t})
=> {r}
= ints | a list of the `1:sums|largest elements|smallest elements` of all runs of {K} neighbouring \
elements of {A}
.. Go from left to right.

@ neighbours | swap | 2 | A:`4:ints|strs`
{r} = list({A})
for {i} in range(0, len({r}) - 1, 2):
    1=0? {r}[{i}], {r}[{i} + 1] = {r}[{i} + 1], {r}[{i}]
    1=1? if {r}[{i}] > {r}[{i} + 1]:
    1=1?     {r}[{i}], {r}[{i} + 1] = {r}[{i} + 1], {r}[{i}]
return {r}
= A | a copy of {A} in which the first element is exchanged with the second, the third with the \
fourth, and so on`1:|, where the first of the two is larger`

@ helpers | number check | 6 | S:int
def {f}({m}):
    1=0? if {m} < 2:
    1=0?     return False
    1=0? for i in range(2, int({m} ** 0.5) + 1):
    1=0?     if {m} % i == 0:
    1=0?         return False
    1=0? return True
    1=1? if {m} < 0:
    1=1?     return False
    1=1? root = int({m} ** 0.5)
    1=1? return root * root == {m}
    1=2? digits = str(abs({m}))
    1=2? return len(set(digits)) == len(digits)
    1=3? digits = str(abs({m}))
    1=3? for i in range(1, len(digits)):
    1=3?     if digits[i] < digits[i - 1]:
    1=3?         return False
    1=3? return True
    1=4? count = 0
    1=4? for i in range(1, {m} + 1):
    1=4?     if {m} % i == 0:
    1=4?         count += 1
    1=4? return count > {K}

2=0? {r} = 0
2=1? {r} = 0
2=2? {r} = []
for {x} in {S}:
    if {f}({x}):
        2=0? {r} += 1
        2=1? {r} += {x}
        2=2? {r}.append({x})
        2=3? return {x}
2=3? return {D}
2=0? return {r}
2=1? return {r}
2=2? return {r}
--
def {f}({m}):
    1=0? return {m} > 1 and all({m} % i != 0 for i in range(2, {m}))
    1=1? return {m} >= 0 and int({m} ** 0.5) ** 2 == {m}
    1=2? return len(set(str(abs({m})))) == len(str(abs({m})))
    1=3? return list(str(abs({m}))) == sorted(str(abs({m})))
    1=4? return sum(1 for i in range(1, {m} + 1) if {m} % i == 0) > {K}

2=0? return sum(1 for {x} in {S} if {f}({x}))
2=1? return sum({x} for {x} in {S} if {f}({x}))
2=2? return [{x} for {x} in {S} if {f}({x})]
2=3? for {x} in {S}:
2=3?     if {f}({x}):
2=3?         return {x}
2=3? return {D}
= `2:int|int|ints|elem` | the `2:number|sum|list|first` of the {S} that `1:are prime|are perfect \
squares|have no repeated digit|have digits that never decrease|have more than {K} divisors`
2=3? . Return {D} if there is none.

@ helpers | word check | 3 | S:str
def {f}({m}):
    1=0? count = 0
    1=0? for c in {m}:
    1=0?     if c in 'aeiou':
    1=0?         count += 1
    1=0? return count > {K}
    1=1? return len(set({m})) == len({m})
    1=2? for i in range(1, len({m})):
    1=2?     if {m}[i] == {m}[i - 1]:
    1=2?         return True
    1=2? return False

2=0? {r} = 0
2=1? {r} = []
for {x} in {S}:
    if {f}({x}):
        2=0? {r} += 1
        2=1? {r}.append({x})
        2=2? return True
2=0? return {r}
2=1? return {r}
2=2? return False
= `2:int|strs|bool` | `2:the number|the list|True if there are any` of the {S} that `1:have more \
than \
{K} vowels|have no repeated letter|have a doubled letter`
"""
