"""What textbook sections say: openings and closings by audience, explanations by kind of step.

In the templates DO is the task as an order ("keep the even numbers"), KIND the input in words,
SOURCE and TARGET the shapes before and after.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Audience:
    """Whom a section speaks to, by the sentences that open and close it."""

    openings: tuple[str, ...]
    closings: tuple[str, ...]


AUDIENCES = {
    "young beginners": Audience(
        ("Imagine a box of cards on the table, and somebody asks you to DO.",
         "Computers are very fast but they must be told every step. Today we tell one to DO.",
         "Here is a small puzzle: how would you DO if you had only paper and a pencil?"),
        ("Try it with values of your own and guess the answer before you run it.",
         "Change one number and see what happens. You cannot break anything."),
    ),
    "data analysts": Audience(
        ("Before a table can be charted, someone often has to DO.",
         "Cleaning data takes more time than modelling it, and much of the cleaning is this: DO.",
         "A column rarely arrives in the shape a report needs, so we DO."),
        ("The same line works on ten values and on ten million.",
         "Keep such steps small, and a colleague can check each of them against the raw data."),
    ),
    "returning programmers": Audience(
        ("If you know another language, you may reach for an index and a counter to DO.",
         "You have done this many times before, in other words: DO. Python has its own idiom.",
         "The task is old and the notation is short. We want to DO."),
        ("Once the idiom is familiar, it reads faster than the version with an index.",
         "Nothing here is hidden: the short form and the long form do the same work."),
    ),
    "science students": Audience(
        ("A notebook of measurements is only useful once we DO.",
         "In the lab you would do this by hand for the first few readings: DO.",
         "Suppose that an instrument wrote down its readings and we want to DO."),
        ("Write down what you expect first; a surprise is either a bug or a discovery.",
         "Check the extreme cases, exactly as you would with an instrument."),
    ),
    "web developers": Audience(
        ("A form has been sent, its fields have arrived, and now the server must DO.",
         "Between the database and the page there is always some code that has to DO.",
         "Requests bring data in one shape and templates want another, so we DO."),
        ("A function like this has no side effects, so it is easy to test and safe to cache.",
         "Return a new value instead of changing the old one, and no caller is surprised."),
    ),
    "game designers": Audience(
        ("After each round the game has to DO before the next one begins.",
         "Players see a number on the screen; behind it, a few lines of code DO.",
         "Rules are code. One of the rules of our game says: DO."),
        ("Small functions like this one can be balanced and tested before anybody plays.",
         "When the rule changes, only this one line has to change."),
    ),
    "office workers": Audience(
        ("A spreadsheet can do this with a formula, but a program can do it every night: DO.",
         "Monday morning, a list has come by mail, and somebody must DO.",
         "Tasks that bore people suit computers well. Here is one: DO."),
        ("Save the function once and you never need to do this by hand again.",
         "Try it on a short list whose answer you know before you trust it with a long one."),
    ),
    "mathematics teachers": Audience(
        ("In words the rule is short: DO. In Python it is nearly as short.",
         "A function takes a value to a value. Ours takes KIND, and its rule is: DO.",
         "Let us read the task as a definition. Given KIND, we DO."),
        ("Ask the class for a value on which two different rules would agree.",
         "It is worth proving to yourself that the rule also holds for the smallest input."),
    ),
}  # fmt: skip

FAMILIES = {
    "map": (
        "This is a mapping: every part of the input is replaced by something computed from it "
        "alone, and the order stays as it was.",
        "What happens to one part does not depend on the others, so we describe it once and let "
        "Python repeat it.",
        "The result has the same shape as the input; only what stands in each place is new.",
    ),
    "filter": (
        "This is a filter: each element is asked a question, and it stays only if the answer is "
        "yes. Those that stay keep their order.",
        "A filter never changes an element. It decides which ones go on and which are left out, "
        "so the result may be shorter, even empty.",
        "The condition is the whole idea. Say it precisely and the code follows.",
    ),
    "fold": (
        "Many values go in and one comes out. Such a step is called a fold or a reduction.",
        "We walk over everything once and remember a single result on the way.",
        "Folding needs an answer for the empty case too, and it is good to decide that first.",
    ),
    "order": (
        "Nothing is computed here; things only change places. Python builds a new sequence and "
        "leaves the old one alone.",
        "The elements are the same before and after, but where they stand is different.",
    ),
    "slice": (
        "Here the place of an element matters, not its value. Places are counted from 0, and "
        "negative places count from the end.",
        "A slice takes a part of a sequence by position. It never fails when the sequence is too "
        "short: it takes what there is.",
    ),
    "test": (
        "The answer is True or False, nothing else, so the function can stand in an if.",
        "A question with two answers is called a predicate. It looks at the data and changes "
        "nothing.",
    ),
    "reshape": (
        "The kind of value stays the same, but what it holds is rebuilt from the old parts.",
        "A new value is put together here and the old one is left as it was, so whoever still "
        "needs the old one is safe.",
    ),
    "convert": (
        "The input has one shape and the output another: the step turns SOURCE into TARGET.",
        "Data often has to change shape before the next step can use it, and here we go from "
        "SOURCE to TARGET.",
    ),
}  # fmt: skip

JOINING = (
    "Two small steps, one after the other, solve more than one large step that tries to do both.",
    "Read the task from left to right: each part says what to do with the result of the part "
    "before it.",
    "The trick is to give the result of the first step a name, and to work on that name from "
    "then on.",
    "The order of the steps matters. Swap them and the answer is often another one.",
    "Each line does one thing. When the answer is wrong, look at the value after every line.",
)
