(** # Sums and expectations on finite lists

An alphabet is a list [l] of letters, a weight is a function [w] from letters to real numbers, and
every expectation of the book is a finite sum. This file holds the two operations, [sum] and [E],
and the facts about them that every chapter uses: both are linear and monotone, sums may be
swapped, and the letters of independent draws may change places. *)
From Coq Require Export Reals Lra Psatz List Permutation Lia.
Export ListNotations.
Open Scope R_scope.

(** ## Sums *)

(** [∑ a ∈ l, f a] adds [f] over the letters of the list [l]. *)
Fixpoint sum {A : Type} (l : list A) (f : A -> R) : R :=
  match l with nil => 0 | a :: l' => f a + sum l' f end.

Notation "∑ a ∈ l , e" := (sum l (fun a => e))
  (at level 41, a name, l at level 10, e at level 41, right associativity).

Section Sum.
Context {A : Type}.
Implicit Types (l : list A) (f g : A -> R).

Lemma sum_ext l f g : (forall a, In a l -> f a = g a) -> sum l f = sum l g.
Proof.
  induction l as [|a l IH]; intros H; simpl; [reflexivity|].
  rewrite (H a), IH; [reflexivity| |left; reflexivity].
  intros b Hb; apply H; right; exact Hb.
Qed.

Lemma sum_le l f g : (forall a, In a l -> f a <= g a) -> sum l f <= sum l g.
Proof.
  induction l as [|a l IH]; intros H; simpl; [lra|].
  assert (f a <= g a) by (apply H; left; reflexivity).
  assert (sum l f <= sum l g) by (apply IH; intros b Hb; apply H; right; exact Hb).
  lra.
Qed.

Lemma sum_plus l f g : sum l (fun a => f a + g a) = sum l f + sum l g.
Proof. induction l as [|a l IH]; simpl; [lra|rewrite IH; lra]. Qed.

Lemma sum_minus l f g : sum l (fun a => f a - g a) = sum l f - sum l g.
Proof. induction l as [|a l IH]; simpl; [lra|rewrite IH; lra]. Qed.

Lemma sum_scal l f c : sum l (fun a => c * f a) = c * sum l f.
Proof. induction l as [|a l IH]; simpl; [lra|rewrite IH; lra]. Qed.

Lemma sum_scal_r l f c : sum l (fun a => f a * c) = sum l f * c.
Proof. induction l as [|a l IH]; simpl; [lra|rewrite IH; lra]. Qed.

Lemma sum_const l c : sum l (fun _ => c) = INR (length l) * c.
Proof.
  induction l as [|a l IH]; [simpl; lra|].
  change (length (a :: l)) with (S (length l)). rewrite S_INR. simpl. rewrite IH. lra.
Qed.

Lemma sum_0 l : sum l (fun _ => 0) = 0.
Proof. rewrite sum_const; lra. Qed.

Lemma sum_nonneg l f : (forall a, In a l -> 0 <= f a) -> 0 <= sum l f.
Proof. intros H. rewrite <- (sum_0 l). apply sum_le, H. Qed.

Lemma sum_perm l l' f : Permutation l l' -> sum l f = sum l' f.
Proof. induction 1; simpl; lra. Qed.

Lemma sum_app l l' f : sum (l ++ l') f = sum l f + sum l' f.
Proof. induction l as [|a l IH]; simpl; [lra|rewrite IH; lra]. Qed.

Lemma sum_nonneg_0 l f : (forall a, In a l -> 0 <= f a) -> sum l f = 0 ->
  forall a, In a l -> f a = 0.
Proof.
  induction l as [|b l IH]; intros H H0 a Ha; [destruct Ha|].
  simpl in H0.
  assert (0 <= f b) by (apply H; left; reflexivity).
  assert (HA : forall c, In c l -> 0 <= f c) by (intros c Hc; apply H; right; exact Hc).
  pose proof (sum_nonneg l f HA).
  destruct Ha as [<-|Ha]; [lra|apply IH; [exact HA|lra|exact Ha]].
Qed.

End Sum.

Lemma sum_swap {A B} (l : list A) (k : list B) (f : A -> B -> R) :
  sum l (fun a => sum k (f a)) = sum k (fun b => sum l (fun a => f a b)).
Proof.
  induction l as [|a l IH]; simpl; [rewrite sum_0; reflexivity|].
  rewrite IH, <- sum_plus; reflexivity.
Qed.

Lemma sum_map {A B} (h : A -> B) l f : sum (map h l) f = sum l (fun a => f (h a)).
Proof. induction l as [|a l IH]; simpl; [reflexivity|rewrite IH; reflexivity]. Qed.

Lemma sum_prod {A B} (l : list A) (k : list B) (f : A * B -> R) :
  sum (list_prod l k) f = sum l (fun a => sum k (fun b => f (a, b))).
Proof.
  induction l as [|a l IH]; simpl; [reflexivity|].
  rewrite sum_app, sum_map, IH; reflexivity.
Qed.

(** ## Logarithm and exponential *)

Lemma ln_le_sub1 x : 0 < x -> ln x <= x - 1.
Proof.
  intros Hx. pose proof (exp_ineq1_le (ln x)) as H. rewrite exp_ln in H; lra.
Qed.

Lemma exp_le a b : a <= b -> exp a <= exp b.
Proof. intros [H|H]; [left; apply exp_increasing, H|rewrite H; lra]. Qed.

Lemma ln_le' a b : 0 < a -> a <= b -> ln a <= ln b.
Proof. intros Ha [H|H]; [left; apply ln_increasing; assumption|rewrite H; lra]. Qed.

Lemma ln_div' a b : 0 < a -> 0 < b -> ln (a / b) = ln a - ln b.
Proof.
  intros Ha Hb. unfold Rdiv. rewrite ln_mult, ln_Rinv; try assumption; [ring|].
  apply Rinv_0_lt_compat, Hb.
Qed.


(** Jensen's inequality for the exponential and weights that sum to one. *)
Lemma exp_jensen {A} (l : list A) w f :
  (forall a, In a l -> 0 <= w a) -> sum l w = 1 ->
  exp (sum l (fun a => w a * f a)) <= sum l (fun a => w a * exp (f a)).
Proof.
  intros Hw H1. set (mu := sum l (fun a => w a * f a)).
  apply Rle_trans with (sum l (fun a => exp mu * (w a * (1 - mu) + w a * f a))).
  - rewrite sum_scal, sum_plus, sum_scal_r, H1. fold mu.
    replace (1 * (1 - mu) + mu) with 1 by ring. lra.
  - apply sum_le; intros a Ha.
    replace (exp mu * (w a * (1 - mu) + w a * f a))
      with (w a * (exp mu * (1 + (f a - mu)))) by ring.
    apply Rmult_le_compat_l; [apply Hw, Ha|].
    replace (exp (f a)) with (exp mu * exp (f a - mu))
      by (rewrite <- exp_plus; f_equal; ring).
    apply Rmult_le_compat_l; [left; apply exp_pos|apply exp_ineq1_le].
Qed.

(** Two special cases of it: Young's inequality, and the concavity of the logarithm. *)
Lemma young q a c : 0 <= q <= 1 -> 0 < c ->
  exp ((1 - q) * a + q * ln c) <= (1 - q) * exp a + q * c.
Proof.
  intros Hq Hc.
  pose proof (exp_jensen [true; false] (fun b : bool => if b then 1 - q else q)
     (fun b : bool => if b then a else ln c)) as H.
  simpl in H. rewrite !Rplus_0_r, exp_ln in H by exact Hc. apply H; [|ring].
  intros [|] _; lra.
Qed.

Lemma exp_mix s a b : 0 <= s <= 1 ->
  exp ((1 - s) * a + s * b) <= (1 - s) * exp a + s * exp b.
Proof.
  intros Hs. rewrite <- (ln_exp b) at 1. apply young; [exact Hs|apply exp_pos].
Qed.

Lemma ln_mix s x y : 0 <= s <= 1 -> 0 < x -> 0 < y ->
  (1 - s) * ln x + s * ln y <= ln ((1 - s) * x + s * y).
Proof.
  intros Hs Hx Hy. rewrite <- (ln_exp ((1 - s) * ln x + s * ln y)).
  apply ln_le'; [apply exp_pos|].
  eapply Rle_trans; [apply exp_mix, Hs|]. rewrite !exp_ln by assumption. lra.
Qed.

(** ## Expectations of independent draws *)

(** [E l w k F] is the mean of [F] over [k] independent draws from the law [(l, w)]: the list [l]
holds the letters, [w] their probabilities, and [F] sees the draws as a list of length [k]. *)
Section Tuples.
Context {A : Type}.
Variables (l : list A) (w : A -> R).

Fixpoint E (k : nat) (F : list A -> R) : R :=
  match k with
  | O => F nil
  | S k' => sum l (fun a => w a * E k' (fun t => F (a :: t)))
  end.

Hypothesis w_nonneg : forall a, 0 <= w a.
Hypothesis w_sum : sum l w = 1.

Lemma E_ext k F G : (forall t, length t = k -> F t = G t) -> E k F = E k G.
Proof.
  revert F G; induction k as [|k IH]; intros F G H; simpl; [apply H; reflexivity|].
  apply sum_ext; intros a _. f_equal. apply IH. intros t Ht. apply H. simpl; lia.
Qed.

Lemma E_le k F G : (forall t, length t = k -> F t <= G t) -> E k F <= E k G.
Proof.
  revert F G; induction k as [|k IH]; intros F G H; simpl; [apply H; reflexivity|].
  apply sum_le; intros a _. apply Rmult_le_compat_l; [apply w_nonneg|].
  apply IH. intros t Ht. apply H. simpl; lia.
Qed.

Lemma E_plus k F G : E k (fun t => F t + G t) = E k F + E k G.
Proof.
  revert F G; induction k as [|k IH]; intros F G; simpl; [reflexivity|].
  rewrite <- sum_plus. apply sum_ext; intros a _. rewrite IH; ring.
Qed.

Lemma E_scal k c F : E k (fun t => c * F t) = c * E k F.
Proof.
  revert F; induction k as [|k IH]; intros F; simpl; [reflexivity|].
  rewrite <- sum_scal. apply sum_ext; intros a _. rewrite IH; ring.
Qed.

Lemma E_const k c : E k (fun _ => c) = c.
Proof.
  induction k as [|k IH]; simpl; [reflexivity|].
  rewrite IH, sum_scal_r, w_sum; ring.
Qed.

Lemma E_jensen k F : exp (E k F) <= E k (fun t => exp (F t)).
Proof.
  revert F; induction k as [|k IH]; intros F; simpl; [lra|].
  eapply Rle_trans; [apply exp_jensen; [intros; apply w_nonneg|exact w_sum]|].
  apply sum_le; intros a _. apply Rmult_le_compat_l; [apply w_nonneg|apply IH].
Qed.

(** Exchangeability. *)
Variable u : A -> R.
Lemma E_exch k (G : A -> R -> R) s :
  E (S k) (fun t => sum t (fun a => G a (s + sum t u)))
  = INR (S k) * sum l (fun a => w a * E k (fun t => G a (s + u a + sum t u))).
Proof.
  revert s; induction k as [|k IH]; intros s.
  - simpl. rewrite Rmult_1_l. apply sum_ext; intros a _.
    rewrite !Rplus_0_r. reflexivity.
  - change (E (S (S k)) ?F) with (sum l (fun b => w b * E (S k) (fun t => F (b :: t)))).
    rewrite (sum_ext _ _ (fun b => w b * E (S k) (fun t => G b (s + u b + sum t u)) +
       w b * (INR (S k) * sum l (fun a => w a * E k (fun t => G a (s + u b + u a + sum t u)))))).
    2:{ intros b _. rewrite <- IH, <- Rmult_plus_distr_l, <- E_plus. f_equal.
        apply E_ext; intros t _. simpl. f_equal; [f_equal; ring|].
        apply sum_ext; intros a _; f_equal; ring. }
    rewrite sum_plus.
    assert (H : sum l (fun b => w b * (INR (S k) *
         sum l (fun a => w a * E k (fun t => G a (s + u b + u a + sum t u)))))
       = INR (S k) * sum l (fun a => w a * E (S k) (fun t => G a (s + u a + sum t u)))).
    { rewrite (sum_ext _ _ (fun b => INR (S k) *
         sum l (fun a => w b * (w a * E k (fun t => G a (s + u b + u a + sum t u))))))
        by (intros b _; rewrite sum_scal; ring).
      rewrite sum_scal, sum_swap. f_equal. apply sum_ext; intros a _.
      simpl E. rewrite <- sum_scal. apply sum_ext; intros b _.
      rewrite (E_ext k (fun t => G a (s + u b + u a + sum t u))
                       (fun t => G a (s + u a + sum (b :: t) u))); [simpl; ring|].
      intros t _; simpl; f_equal; ring. }
    rewrite H, (S_INR (S k)). ring.
Qed.

End Tuples.

Lemma E_sum {A B} (l : list A) (w : A -> R) (k : nat) (s : list B) (F : B -> list A -> R) :
  E l w k (fun t => sum s (fun b => F b t)) = sum s (fun b => E l w k (F b)).
Proof.
  induction s as [|b s IH]; simpl.
  - rewrite (E_ext l w k _ (fun t => 0 * 0)) by (intros; ring). rewrite E_scal. ring.
  - rewrite E_plus, IH. reflexivity.
Qed.

Lemma E_linear {A} (l : list A) (w : A -> R) k (T : A -> R) : sum l w = 1 ->
  E l w k (fun t => sum t T) = INR k * sum l (fun a => w a * T a).
Proof.
  intros H1. destruct k as [|k]; [simpl; ring|].
  pose proof (E_exch l w (fun _ => 0) k (fun a _ => T a) 0) as H.
  cbv beta in H. refine (eq_trans H _). f_equal.
  apply sum_ext; intros a _. rewrite E_const by exact H1. reflexivity.
Qed.

(** Sums over what is equal on the letters that occur. *)
Lemma E_ext_in {A} (l : list A) w k F G :
  (forall t, length t = k -> (forall a, In a t -> In a l) -> F t = G t) -> E l w k F = E l w k G.
Proof.
  revert F G; induction k as [|k IH]; intros F G H; simpl; [apply H; [reflexivity|intros a []]|].
  apply sum_ext; intros a Ha. f_equal. apply IH. intros t Ht Hin. apply H; [simpl; lia|].
  intros b [<-|Hb]; [exact Ha|apply Hin, Hb].
Qed.

(** Laws that agree on the letters have one expectation. *)
Lemma E_weights {A} (l : list A) (w w' : A -> R) k F : (forall a, In a l -> w a = w' a) ->
  E l w k F = E l w' k F.
Proof.
  intros H. revert F; induction k as [|k IH]; intros F; simpl; [reflexivity|].
  apply sum_ext; intros a Ha. rewrite (H a Ha), IH. reflexivity.
Qed.

Section Draws.
Context {A : Type}.
Variables (l : list A) (w : A -> R).

(** Draw [a + b] letters at once, or first [a] and then [b]; two groups of draws may swap. *)
Lemma E_app a b F : E l w (a + b) F = E l w a (fun s => E l w b (fun t => F (s ++ t))).
Proof.
  revert F; induction a as [|a IH]; intros F; [reflexivity|].
  simpl. apply sum_ext; intros x _. f_equal. rewrite IH. reflexivity.
Qed.

Lemma E_comm {B} (l2 : list B) (w2 : B -> R) a b (F : list A -> list B -> R) :
  E l w a (fun s => E l2 w2 b (F s)) = E l2 w2 b (fun t => E l w a (fun s => F s t)).
Proof.
  revert F; induction a as [|a IH]; intros F; [reflexivity|].
  simpl. rewrite E_sum. apply sum_ext; intros x _.
  rewrite E_scal. f_equal. apply (IH (fun s => F (x :: s))).
Qed.

(** Pick one of [k + 1] draws and call it the first. *)
Lemma E_pick k (H : A -> list A -> R) :
  (forall a t t', Permutation t t' -> H a t = H a t') ->
  E l w (S k) (fun t => sum t (fun a => H a t))
  = INR (S k) * sum l (fun a => w a * E l w k (fun t => H a (a :: t))).
Proof.
  revert H; induction k as [|k IH]; intros H HP.
  - simpl. rewrite Rmult_1_l. apply sum_ext; intros a _. f_equal. ring.
  - change (E l w (S (S k)) ?F) with (sum l (fun b => w b * E l w (S k) (fun t => F (b :: t)))).
    rewrite (sum_ext _ _ (fun b => w b * E l w (S k) (fun t => H b (b :: t)) +
       INR (S k) * sum l (fun a => w b * (w a * E l w k (fun t => H a (b :: a :: t)))))).
    2:{ intros b _.
        pose proof (IH (fun a t => H a (b :: t))) as IHb. cbv beta in IHb.
        rewrite sum_scal.
        replace (INR (S k) * (w b * sum l (fun a => w a * E l w k (fun t => H a (b :: a :: t)))))
          with (w b * (INR (S k) * sum l (fun a => w a * E l w k (fun t => H a (b :: a :: t))))) by ring.
        rewrite <- IHb by (intros a t t' Ht; apply HP; constructor; exact Ht).
        rewrite <- Rmult_plus_distr_l, <- E_plus. reflexivity. }
    rewrite sum_plus, sum_scal, sum_swap.
    rewrite (sum_ext l (fun b => sum l _) (fun a => w a * E l w (S k) (fun t => H a (a :: t)))).
    + rewrite (S_INR (S k)). ring.
    + intros a _. simpl E. rewrite <- sum_scal. apply sum_ext; intros b _.
      rewrite (E_ext l w k (fun t => H a (b :: a :: t)) (fun t => H a (a :: b :: t)))
        by (intros t _; apply HP; constructor). ring.
Qed.

(** Only letters of positive probability occur. *)
Lemma E_le_supp k F G : (forall a, 0 <= w a) ->
  (forall t, length t = k -> Forall (fun a => In a l /\ 0 < w a) t -> F t <= G t) ->
  E l w k F <= E l w k G.
Proof.
  intros Hw. revert F G; induction k as [|k IH]; intros F G H; simpl; [apply H; [reflexivity|constructor]|].
  apply sum_le; intros a Ha. destruct (Hw a) as [Hp|Hp].
  - apply Rmult_le_compat_l; [left; exact Hp|]. apply IH. intros t Ht HF. apply H; [simpl; lia|].
    constructor; [split; assumption|exact HF].
  - rewrite <- Hp. lra.
Qed.

End Draws.

(** Exchangeability with a total that depends on the chosen letter. *)
Lemma E_exch2 {A} (l : list A) (w : A -> R) (v : A -> A -> R) k (G : A -> R -> R) (s : A -> R) :
  E l w (S k) (fun t => sum t (fun a => G a (s a + sum t (v a))))
  = INR (S k) * sum l (fun a => w a * E l w k (fun t => G a (s a + v a a + sum t (v a)))).
Proof.
  revert s; induction k as [|k IH]; intros s.
  - simpl. rewrite Rmult_1_l. apply sum_ext; intros a _.
    rewrite !Rplus_0_r. reflexivity.
  - change (E l w (S (S k)) ?F) with (sum l (fun b => w b * E l w (S k) (fun t => F (b :: t)))).
    rewrite (sum_ext _ _ (fun b => w b * E l w (S k) (fun t => G b (s b + v b b + sum t (v b))) +
       w b * (INR (S k) * sum l (fun a => w a * E l w k (fun t => G a (s a + v a b + v a a + sum t (v a))))))).
    2:{ intros b _. rewrite <- (IH (fun a => s a + v a b)), <- Rmult_plus_distr_l, <- E_plus. f_equal.
        apply E_ext; intros t _. simpl. f_equal; [f_equal; ring|].
        apply sum_ext; intros a _; f_equal; ring. }
    rewrite sum_plus.
    assert (H : sum l (fun b => w b * (INR (S k) *
         sum l (fun a => w a * E l w k (fun t => G a (s a + v a b + v a a + sum t (v a))))))
       = INR (S k) * sum l (fun a => w a * E l w (S k) (fun t => G a (s a + v a a + sum t (v a))))).
    { rewrite (sum_ext _ _ (fun b => INR (S k) *
         sum l (fun a => w b * (w a * E l w k (fun t => G a (s a + v a b + v a a + sum t (v a)))))))
        by (intros b _; rewrite sum_scal; ring).
      rewrite sum_scal, sum_swap. f_equal. apply sum_ext; intros a _.
      simpl E. rewrite <- sum_scal. apply sum_ext; intros b _.
      rewrite (E_ext l w k (fun t => G a (s a + v a b + v a a + sum t (v a)))
                       (fun t => G a (s a + v a a + sum (b :: t) (v a)))); [simpl; ring|].
      intros t _; simpl; f_equal; ring. }
    rewrite H, (S_INR (S k)). ring.
Qed.

(** ## Tuples as an alphabet of their own *)
Section TuplesAlphabet.
Context {A : Type}.
Fixpoint tuples (k : nat) (l : list A) : list (list A) :=
  match k with
  | O => [nil]
  | S k' => map (fun z => fst z :: snd z) (list_prod l (tuples k' l))
  end.
Fixpoint tw (w : A -> R) (t : list A) : R :=
  match t with nil => 1 | a :: t' => w a * tw w t' end.

Lemma E_tuples l w k F : E l w k F = sum (tuples k l) (fun t => tw w t * F t).
Proof.
  revert F; induction k as [|k IH]; intros F; simpl; [ring|].
  rewrite sum_map, sum_prod. apply sum_ext; intros a _. rewrite IH, <- sum_scal.
  apply sum_ext; intros t _. simpl. ring.
Qed.

Lemma tuples_length l k t : In t (tuples k l) -> length t = k.
Proof.
  revert t; induction k as [|k IH]; simpl; intros t Ht.
  - destruct Ht as [<-|[]]; reflexivity.
  - apply in_map_iff in Ht. destruct Ht as [[a s] [<- Hs]]. apply in_prod_iff in Hs.
    simpl. f_equal. apply IH, Hs.
Qed.

Lemma tuples_In l k t a : In t (tuples k l) -> In a t -> In a l.
Proof.
  revert t; induction k as [|k IH]; simpl; intros t Ht Ha.
  - destruct Ht as [<-|[]]. destruct Ha.
  - apply in_map_iff in Ht. destruct Ht as [[b s] [<- Hs]]. apply in_prod_iff in Hs.
    destruct Ha as [<-|Ha]; [apply Hs|]. apply (IH s); [apply Hs|exact Ha].
Qed.


Lemma tw_nonneg w t : (forall a, 0 <= w a) -> 0 <= tw w t.
Proof. intros H. induction t as [|a t IH]; simpl; [lra|apply Rmult_le_pos; auto]. Qed.

Lemma tw_sum l w k : sum l w = 1 -> sum (tuples k l) (tw w) = 1.
Proof.
  intros H. rewrite <- (E_const l w H k 1), E_tuples.
  apply sum_ext; intros; ring.
Qed.
End TuplesAlphabet.

Lemma sum_antisym {A} (l : list A) (F : A -> A -> R) :
  (forall a b, F a b + F b a <= 0) -> sum l (fun a => sum l (fun b => F a b)) <= 0.
Proof.
  intros H. set (X := sum l _).
  assert (HX : 2 * X = sum l (fun a => sum l (fun b => F a b + F b a))).
  { replace (2 * X) with (X + X) by ring. unfold X at 2. rewrite sum_swap. unfold X.
    rewrite <- sum_plus. apply sum_ext; intros a _. rewrite <- sum_plus. reflexivity. }
  assert (2 * X <= 0); [|lra]. rewrite HX, <- (sum_0 l).
  apply sum_le; intros a _. rewrite <- (sum_0 l). apply sum_le; intros b _. apply H.
Qed.

Lemma In_le {A} (h : A -> R) c t : (forall a, 0 < h a) -> In c t -> h c <= sum t h.
Proof.
  intros Hh. induction t as [|d t IH]; [intros []|]. simpl. intros [->|Hz].
  - assert (0 <= sum t h) by (apply sum_nonneg; intros; left; apply Hh). lra.
  - specialize (IH Hz). pose proof (Hh d). lra.
Qed.
