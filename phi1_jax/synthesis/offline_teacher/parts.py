"""Small parts of programs: a piece of Python and the words for it, made together.

In both, `@` stands for the element at hand and `#`, `$` for a number and a text that the part
needs; in words, `~` stands for the elements, in the plural.
"""


def _table(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(part.strip() for part in line.split(" ; ")) for line in text.split("\n"))


# Element type -> (name, condition, what it says of one element, what it says of several).
PREDICATES = {
    "int": _table("""\
even ; @ % 2 == 0 ; is even ; even ~
even ; @ % 2 == 0 ; is even ; even ~
odd ; @ % 2 == 1 ; is odd ; odd ~
odd ; @ % 2 != 0 ; is odd ; odd ~
positive ; @ > 0 ; is positive ; positive ~
negative ; @ < 0 ; is negative ; negative ~
nonzero ; @ != 0 ; is not zero ; non-zero ~
above ; @ > # ; is greater than # ; ~ greater than #
above ; @ > # ; is above # ; ~ above #
below ; @ < # ; is less than # ; ~ smaller than #
below ; @ < # ; is below # ; ~ below #
at_least ; @ >= # ; is at least # ; ~ that are at least #
at_most ; @ <= # ; is at most # ; ~ not larger than #
multiple ; @ % # == 0 ; is divisible by # ; ~ divisible by #
multiple ; @ % # == 0 ; is a multiple of # ; multiples of # among the ~
indivisible ; @ % # != 0 ; is not divisible by # ; ~ that are not divisible by #
equal ; @ == # ; is equal to # ; ~ equal to #
differs ; @ != # ; is different from # ; ~ different from #
far ; abs(@) > # ; is greater than # in absolute value ; ~ whose absolute value exceeds #
both ; @ % 2 == 0 and @ > # ; is even and greater than # ; even ~ greater than #
both ; @ % 2 == 1 and @ < # ; is odd and less than # ; odd ~ less than #
either ; @ < 0 or @ > # ; is negative or greater than # ; ~ that are negative or greater than #
ends_in ; abs(@) % 10 == # ; ends in the digit # ; ~ that end in the digit #
digit_sum ; sum(int(d) for d in str(abs(@))) > # ; has a digit sum over # ; ~ with digit sum over #
one_digit ; abs(@) < 10 ; has a single digit ; single-digit ~
mirror ; str(@) == str(@)[::-1] ; reads the same backwards ; ~ that read the same backwards"""),
    "float": _table("""\
above ; @ > # ; is greater than # ; ~ greater than #
below ; @ < # ; is less than # ; ~ less than #
at_least ; @ >= # ; is at least # ; ~ that are at least #
positive ; @ > 0 ; is positive ; positive ~
negative ; @ < 0 ; is negative ; negative ~
whole ; @ == int(@) ; is a whole number ; ~ without a fractional part"""),
    "str": _table("""\
longer ; len(@) > # ; has more than # characters ; ~ with more than # characters
longer ; len(@) > # ; is longer than # ; ~ longer than # characters
shorter ; len(@) < # ; has fewer than # characters ; ~ shorter than # characters
length ; len(@) == # ; has exactly # characters ; ~ of length #
at_least ; len(@) >= # ; has at least # characters ; ~ with at least # characters
even_length ; len(@) % 2 == 0 ; has an even length ; ~ of even length
odd_length ; len(@) % 2 == 1 ; has an odd length ; ~ of odd length
starts ; @.startswith($) ; starts with $ ; ~ that start with $
starts ; @[:1] == $ ; begins with $ ; ~ beginning with $
ends ; @.endswith($) ; ends with $ ; ~ that end with $
contains ; $ in @ ; contains $ ; ~ that contain $
lacks ; $ not in @ ; does not contain $ ; ~ without $
upper ; @.isupper() ; is in upper case ; ~ in upper case
lower ; @.islower() ; is in lower case ; ~ in lower case
alpha ; @.isalpha() ; consists of letters only ; ~ made of letters only
digits ; any(c.isdigit() for c in @) ; contains a digit ; ~ that contain a digit
mirror ; @ == @[::-1] ; is a palindrome ; ~ that are palindromes
vowel ; @[:1] in ('a', 'e', 'i', 'o', 'u') ; starts with a vowel ; ~ with a vowel in front"""),
    "char": _table("""\
vowel ; @ in 'aeiou' ; is a lowercase vowel ; lowercase vowels among the ~
vowel ; @.lower() in 'aeiou' ; is a vowel ; ~ that are vowels
no_vowel ; @.lower() not in 'aeiou' ; is not a vowel ; ~ that are not vowels
consonant ; @.isalpha() and @ not in 'aeiouAEIOU' ; is a consonant ; ~ that are consonants
digit ; @.isdigit() ; is a digit ; ~ that are digits
no_digit ; not @.isdigit() ; is not a digit ; ~ that are not digits
letter ; @.isalpha() ; is a letter ; ~ that are letters
upper ; @.isupper() ; is an uppercase letter ; uppercase ~
lower ; @.islower() ; is a lowercase letter ; lowercase ~
equal ; @ == $ ; is equal to $ ; ~ equal to $
differs ; @ != $ ; is different from $ ; ~ other than $
space ; @ != ' ' ; is not a space ; ~ that are not spaces
after ; @ > $ ; comes after $ in the alphabet ; ~ that come after $ in the alphabet"""),
}

# Element type -> (name, type of the result, expression, what the results are called).
MAPS = {
    "int": _table("""\
square ; int ; @ * @ ; squares of the ~ ; square
square ; int ; @ ** 2 ; squares of the ~ ; square
cube ; int ; @ ** 3 ; cubes of the ~ ; cube
double ; int ; 2 * @ ; doubled ~ ; double
double ; int ; @ * 2 ; doubles of the ~ ; double
negate ; int ; -@ ; negated ~ ; negative
absolute ; int ; abs(@) ; absolute values of the ~ ; absolute value
plus ; int ; @ + # ; ~ increased by # ; sum with #
minus ; int ; @ - # ; ~ decreased by # ; value minus #
times ; int ; @ * # ; ~ multiplied by # ; product with #
remainder ; int ; @ % # ; remainders of the ~ divided by # ; remainder when divided by #
quotient ; int ; @ // # ; ~ divided by # and rounded down ; quotient by #, rounded down
half ; int ; @ // 2 ; halves of the ~, rounded down ; half, rounded down
distance ; int ; abs(@ - #) ; distances of the ~ from # ; distance from #
digit_sum ; int ; sum(int(d) for d in str(abs(@))) ; digit sums of the ~ ; digit sum
n_digits ; int ; len(str(abs(@))) ; numbers of digits of the ~ ; number of digits
last_digit ; int ; abs(@) % 10 ; last digits of the ~ ; last digit
at_most ; int ; min(@, #) ; ~ capped at # ; value, but at most #
at_least ; int ; max(@, #) ; ~ raised to at least # ; value, but at least #
text ; str ; str(@) ; ~ as strings ; digits as a string"""),
    "float": _table("""\
round ; int ; round(@) ; ~ rounded to whole numbers ; nearest whole number
truncate ; int ; int(@) ; whole parts of the ~ ; whole part
double ; float ; 2 * @ ; doubled ~ ; double
half ; float ; @ / 2 ; halves of the ~ ; half
square ; float ; @ ** 2 ; squares of the ~ ; square
absolute ; float ; abs(@) ; absolute values of the ~ ; absolute value
plus ; float ; @ + # ; ~ increased by # ; sum with #"""),
    "str": _table("""\
upper ; str ; @.upper() ; ~ in upper case ; uppercase form
lower ; str ; @.lower() ; ~ in lower case ; lowercase form
capital ; str ; @.capitalize() ; capitalized ~ ; capitalized form
reverse ; str ; @[::-1] ; reversed ~ ; reverse
length ; int ; len(@) ; lengths of the ~ ; length
first ; str ; @[:1] ; first letters of the ~ ; first letter
last ; str ; @[-1:] ; last letters of the ~ ; last letter
start ; str ; @[:#] ; first # characters of the ~ ; first # characters
double ; str ; @ + @ ; ~ written twice ; text written twice
append ; str ; @ + $ ; ~ followed by $ ; text followed by $
prepend ; str ; $ + @ ; ~ preceded by $ ; text preceded by $
count ; int ; @.count($) ; numbers of times that $ occurs in the ~ ; number of occurrences of $
vowels ; int ; sum(c in 'aeiou' for c in @) ; numbers of vowels in the ~ ; number of vowels
sorted ; str ; ''.join(sorted(@)) ; ~ with their letters sorted ; letters in sorted order
distinct ; int ; len(set(@)) ; numbers of different letters in ~ ; number of different letters"""),
    "char": _table("""\
upper ; char ; @.upper() ; ~ in upper case ; uppercase form
lower ; char ; @.lower() ; ~ in lower case ; lowercase form
swap ; char ; @.swapcase() ; ~ with their case swapped ; other case
code ; int ; ord(@) ; character codes of the ~ ; character code
double ; char ; @ * 2 ; doubled ~ ; double
shift ; char ; chr(ord(@) + #) ; ~ moved # places forward ; successor # places further on
append ; char ; @ + $ ; ~ each followed by $ ; text followed by $"""),
}
